//! The shell on a terminal: line editing, a history, and a prompt that waits for whole statements.

use std::env;
use std::path::PathBuf;

use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use crate::failure;
use crate::session::{self, Flow, Session};

const PROMPT: &str = "shardwright> ";
const CONTINUED: &str = "        ...> ";

/// Names the history file in place of `.shardwright_history` in the home directory.
const HISTORY_VARIABLE: &str = "SHARDWRIGHT_HISTORY";

/// Reads statements from the terminal until its end. A statement that fails is reported, and the
/// shell goes on; Ctrl-C drops what was typed so far.
pub(crate) fn run(session: &mut Session<'_>) -> anyhow::Result<()> {
    let mut editor = DefaultEditor::new()?;
    let history = history_path();
    if let Some(path) = &history {
        // There is none at first, and a shell without one is still a shell.
        let _loaded = editor.load_history(path);
    }
    let mut pending = String::new();
    loop {
        let prompt = if pending.is_empty() {
            PROMPT
        } else {
            CONTINUED
        };
        match editor.readline(prompt) {
            Ok(line) => pending.push_str(&line),
            Err(ReadlineError::Interrupted) => {
                pending.clear();
                continue;
            }
            Err(ReadlineError::Eof) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        if pending.trim().is_empty() {
            pending.clear();
            continue;
        }
        if !session::is_complete(&pending) {
            pending.push('\n');
            continue;
        }
        remember(&mut editor, &history, &pending);
        match session.run(&pending) {
            Ok(Flow::Continue) => {}
            Ok(Flow::Quit) => return Ok(()),
            Err(error) => failure::report_and_go_on(error)?,
        }
        pending.clear();
    }
}

fn remember(editor: &mut DefaultEditor, history: &Option<PathBuf>, text: &str) {
    let added = editor.add_history_entry(text.trim_end()).unwrap_or(false);
    if let (true, Some(path)) = (added, history) {
        // A home that cannot be written costs the history and nothing else.
        let _saved = editor.append_history(path);
    }
}

fn history_path() -> Option<PathBuf> {
    match env::var_os(HISTORY_VARIABLE) {
        Some(path) if path.is_empty() => None,
        Some(path) => Some(path.into()),
        None => env::home_dir().map(|home| home.join(".shardwright_history")),
    }
}
