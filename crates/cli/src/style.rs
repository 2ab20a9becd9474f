//! Emphasis on a terminal. Elsewhere, and where `NO_COLOR` is set, text stays plain.

use std::env;
use std::io::{self, IsTerminal};

/// How to emphasise on standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    emphasises: bool,
}

impl Style {
    /// The style for where standard output goes.
    pub(crate) fn of_stdout() -> Self {
        let is_refused = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self {
            emphasises: io::stdout().is_terminal() && !is_refused && !is_dumb,
        }
    }

    /// A heading.
    pub(crate) fn heading(self, text: &str) -> String {
        self.wrap("1", text)
    }

    /// Something that went well.
    pub(crate) fn good(self, text: &str) -> String {
        self.wrap("32", text)
    }

    /// Something that went wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.emphasises {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_stays_plain() {
        let plain = Style { emphasises: false };
        assert_eq!(plain.heading("rows"), "rows");
        let terminal = Style { emphasises: true };
        assert_eq!(terminal.good("equal"), "\u{1b}[32mequal\u{1b}[0m");
    }
}
