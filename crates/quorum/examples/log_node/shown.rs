//! What readers see.

use std::sync::{Arc, Mutex, PoisonError};

/// What readers see: the text of every record, in its order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown(Arc<Mutex<Vec<String>>>);

impl Shown {
    /// Returns how many there are, and each on a line.
    pub(crate) fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = lines.len().to_string();
        for line in lines.iter() {
            text.push('\n');
            text.push_str(line);
        }
        text
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Vec<String>)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
