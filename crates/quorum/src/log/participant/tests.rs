//! The machine of a copy, by itself and with others.
