//! Comments say why, in the present, and promise nothing.

use super::words::contains_phrase;
use crate::{report::Problem, source::Tree};

/// Marks of unfinished work, as they are written.
const MARKS: [&str; 3] = ["FIXME", "TODO", "XXX"];

/// Phrases in lower case, and what to do instead.
const PHRASES: [(&str, &str); 22] = [
    ("for now", "say what holds"),
    ("for demo purposes", "unimplemented is absent"),
    ("real implementation", "unimplemented is absent"),
    ("real-world implementation", "unimplemented is absent"),
    ("would be implemented", "unimplemented is absent"),
    ("placeholder implementation", "unimplemented is absent"),
    ("helper function", "say what it does"),
    ("utility function", "say what it does"),
    ("now uses", "history belongs to the commit"),
    ("was changed", "history belongs to the commit"),
    ("was previously", "history belongs to the commit"),
    ("used to be", "history belongs to the commit"),
    ("as requested", "history belongs to the commit"),
    ("production-grade", "state the property"),
    ("production-ready", "state the property"),
    ("enterprise-grade", "state the property"),
    ("battle-tested", "state the property"),
    ("comprehensive", "state the property"),
    ("intelligent", "state the property"),
    ("intelligently", "state the property"),
    ("ai-driven", "state the property"),
    ("blazing", "state the property"),
];

/// The file that has to name them.
const EXEMPT: &str = "xtask/src/tidy/phrases.rs";

/// Reports those phrases in sources and documents, and comments that are drawn lines.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    let texts = tree
        .files
        .iter()
        .filter(|file| file.path != "Cargo.lock" && file.path != EXEMPT);
    for file in texts {
        for (number, line) in file.lines() {
            for mark in MARKS.iter().filter(|mark| contains_phrase(line, mark)) {
                let message = format!("`{mark}`: do it, or open an issue");
                problems.push(Problem::at(&file.path, number, message));
            }
            let lower = line.to_lowercase();
            for (phrase, remedy) in PHRASES.iter().filter(|(phrase, _)| lower.contains(phrase)) {
                if contains_phrase(&lower, phrase) {
                    let message = format!("`{phrase}`: {remedy}");
                    problems.push(Problem::at(&file.path, number, message));
                }
            }
            if file.is_rust() && is_banner(line) {
                let message = "a drawn line; a section that needs one is a module";
                problems.push(Problem::at(&file.path, number, message));
            }
        }
    }
}

fn is_banner(line: &str) -> bool {
    let comment = line.trim_start().strip_prefix("//").map(str::trim_start);
    comment.is_some_and(|text| {
        ["====", "----", "####", "****"]
            .iter()
            .any(|rule| text.starts_with(rule))
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{super::found, check};

    #[test]
    fn empty_phrases_are_reported() {
        let text = "// TODO: more\n// In a real implementation, this waits.\n// ==== Part ====\n\
                    /// Nothing is fore nowhere.\nlet mastodon = 1;\n";
        expect![[r#"
            a.rs:1: `TODO`: do it, or open an issue
            a.rs:2: `real implementation`: unimplemented is absent
            a.rs:3: a drawn line; a section that needs one is a module
            b.md:1: `comprehensive`: state the property
        "#]]
        .assert_eq(&found(
            check,
            &[("a.rs", text), ("b.md", "# A comprehensive guide\n")],
        ));
    }
}
