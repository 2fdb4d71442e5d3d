// Before anything is drawn: the colours that were chosen here last.
try {
  const chosen = localStorage.getItem("lsr-theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch {
  // Storage may be forbidden; then the system's colours it is.
}
