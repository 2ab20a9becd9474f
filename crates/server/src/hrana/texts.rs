//! The texts that a stream has stored, so that a client sends each once.

use std::collections::HashMap;

/// How many texts a stream may have.
const TEXTS_MAX: usize = 1_024;

/// How many bytes they may have together.
const BYTES_MAX: usize = 16 << 20;

/// Texts by the numbers that the client has given them.
#[derive(Debug, Default)]
pub(super) struct Texts {
    by_id: HashMap<i32, String>,
    bytes: usize,
}

/// Why a text is not stored, or not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TextError {
    #[error("the stream has a text of the number {0} already")]
    Exists(i32),
    #[error("the stream has no text of the number {0}")]
    Unknown(i32),
    #[error("the stream has 1,024 texts, or 16 MiB of them, and takes no more")]
    TooMany,
}

impl Texts {
    /// Stores a text under a number that is free.
    pub(super) fn store(&mut self, id: i32, sql: String) -> Result<(), TextError> {
        if self.by_id.contains_key(&id) {
            return Err(TextError::Exists(id));
        }
        if self.by_id.len() >= TEXTS_MAX || self.bytes + sql.len() > BYTES_MAX {
            return Err(TextError::TooMany);
        }
        self.bytes += sql.len();
        self.by_id.insert(id, sql);
        Ok(())
    }

    /// Forgets a text, if there is one of that number.
    pub(super) fn close(&mut self, id: i32) {
        if let Some(sql) = self.by_id.remove(&id) {
            self.bytes -= sql.len();
        }
    }

    /// Returns the text of a number.
    pub(super) fn get(&self, id: i32) -> Result<&str, TextError> {
        let text = self.by_id.get(&id);
        text.map(String::as_str).ok_or(TextError::Unknown(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_there_until_it_is_closed() {
        let mut texts = Texts::default();
        texts.store(1, "SELECT 1".to_owned()).unwrap();
        assert_eq!(texts.store(1, String::new()), Err(TextError::Exists(1)));
        assert_eq!(texts.get(1), Ok("SELECT 1"));
        texts.close(1);
        texts.close(1);
        assert_eq!(texts.get(1), Err(TextError::Unknown(1)));
        assert_eq!(texts.bytes, 0);
    }

    #[test]
    fn there_are_no_more_texts_and_bytes_than_the_limits() {
        let mut texts = Texts::default();
        let half = "x".repeat(BYTES_MAX / 2);
        assert_eq!(texts.store(-1, half.clone()), Ok(()));
        assert_eq!(texts.store(-2, half.clone()), Ok(()));
        assert_eq!(texts.store(-3, "x".to_owned()), Err(TextError::TooMany));
        texts.close(-1);
        for id in 1..TEXTS_MAX as i32 {
            assert_eq!(texts.store(id, String::new()), Ok(()));
        }
        assert_eq!(texts.store(0, String::new()), Err(TextError::TooMany));
    }
}
