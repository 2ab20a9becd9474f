//! Whole-stack tests of Shardwright: the tests are in `it/`, and the documents' code is tested here.

#[cfg(doctest)]
#[doc = include_str!("../../docs/guide.md")]
pub struct Guide;

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
