"""The files that `unified-flux plugin new` writes, as texts for `string.Template`."""
