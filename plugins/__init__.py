"""One folder per network plugin; `contract` is what they share, `registry` lists them."""
