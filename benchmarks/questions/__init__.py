"""One file per question; each says its hypothesis first."""
