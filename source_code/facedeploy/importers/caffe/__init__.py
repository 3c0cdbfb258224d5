"""Caffe: a net in a .prototxt, its parameters in a .caffemodel."""
