//! Whole-stack tests of Shardwright; the tests are in `it/`.
