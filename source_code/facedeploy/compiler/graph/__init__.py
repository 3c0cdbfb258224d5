"""The graph of a net as the convolution passes see it: convolutions as nodes with weights, all else as it was."""
