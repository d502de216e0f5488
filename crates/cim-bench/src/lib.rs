//! Load generator, checker and ratio benches
