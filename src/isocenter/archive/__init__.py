"""The product core: receive, keep, find, give back, delete. Skins translate to it and decide nothing."""
