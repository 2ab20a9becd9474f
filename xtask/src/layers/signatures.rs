//! The types of drivers stay out of public signatures.
//!
//! A crate that shows another crate's types makes every release of it a release of its own. What
//! is looked at are the public items of libraries, as written: a name that a file imports from a
//! driver, or a path into it, in a function's signature, a public field, a variant or an alias. What is hidden from the documentation
//! is no promise: the project's own crates, which are released together, may share a driver by it.

use std::collections::BTreeSet;

use crate::{
    report::Problem,
    source::{File, Tree},
};

/// Crates whose types are nobody else's business.
const DRIVERS: [&str; 3] = ["rusqlite", "async_nats", "turso_parser"];

/// Crates that are no library for others.
const EXEMPT: [&str; 2] = ["crates/cli/", "crates/testkit/"];

/// Reports public items of libraries that name a type of a driver.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    let libraries = tree.files.iter().filter(|file| {
        let published = !EXEMPT.iter().any(|prefix| file.path.starts_with(prefix));
        file.is_rust() && file.path.starts_with("crates/") && published && !file.is_test()
    });
    for file in libraries {
        let imported = imported_names(file);
        for (line, signature) in public_items(file) {
            let driver = DRIVERS
                .iter()
                .find(|driver| signature.contains(&format!("{driver}::")));
            let leaked = driver.map(|driver| (*driver).to_owned()).or_else(|| {
                words(&signature)
                    .find(|word| imported.contains(*word))
                    .map(str::to_owned)
            });
            if let Some(name) = leaked {
                let message = format!("a public signature names `{name}`, a type of a driver");
                problems.push(Problem::at(&file.path, line, message));
            }
        }
    }
}

/// The types that a file imports from drivers; functions and modules are in lower case.
fn imported_names(file: &File) -> BTreeSet<String> {
    let text: String = file
        .text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let mut names = BTreeSet::new();
    for driver in DRIVERS {
        for (start, _) in text.match_indices(&format!("use {driver}::")) {
            let end = text[start..]
                .find(';')
                .map_or(text.len(), |end| start + end);
            let types =
                words(&text[start..end]).filter(|word| word.starts_with(char::is_uppercase));
            names.extend(types.map(str::to_owned));
        }
    }
    names
}

/// The public items of a file: what they show, and the line where that starts.
fn public_items(file: &File) -> Vec<(usize, String)> {
    let lines: Vec<(usize, &str)> = file
        .lines()
        .take(file.code_length())
        .map(|(number, line)| (number, line.split("//").next().unwrap_or_default()))
        .collect();
    let mut items = Vec::new();
    let mut enumeration = None;
    for (index, (number, line)) in lines.iter().enumerate() {
        let text = line.trim();
        if let Some(indent) = enumeration {
            if text == "}" && line.find('}') == Some(indent) {
                enumeration = None;
            } else {
                items.push((*number, text.to_owned()));
            }
        } else if text.starts_with("pub enum ") {
            enumeration = line.find("pub");
        } else if text.starts_with("pub use ") {
            items.push((*number, until(&lines[index..], &[';'])));
        } else if !is_hidden(&lines[..index])
            && (text.starts_with("pub ") || converts_to_public(file, text))
        {
            items.push((*number, until(&lines[index..], &['{', ';', '='])));
        }
    }
    items
}

/// Whether the attributes right above hide an item from the documentation.
fn is_hidden(above: &[(usize, &str)]) -> bool {
    let lines = above.iter().rev().map(|(_, line)| line.trim());
    let mut attributes = lines.take_while(|line| line.starts_with("#["));
    attributes.any(|attribute| attribute == "#[doc(hidden)]")
}

/// Whether `line` implements `From` for a type that is not private to the crate.
fn converts_to_public(file: &File, line: &str) -> bool {
    let Some(target) = line
        .strip_prefix("impl From<")
        .and_then(|text| text.split_once(" for "))
    else {
        return false;
    };
    let name = words(target.1).next().unwrap_or_default();
    !["struct", "enum"].iter().any(|keyword| {
        let declaration = format!("{keyword} {name} ");
        file.lines().any(|(_, line)| {
            line.trim_start().starts_with(&declaration)
                || line
                    .trim_start()
                    .starts_with(&format!("pub(crate) {declaration}"))
                || line
                    .trim_start()
                    .starts_with(&format!("pub(super) {declaration}"))
        })
    })
}

/// The text up to the first of `ends`, which is where a signature ends.
fn until(lines: &[(usize, &str)], ends: &[char]) -> String {
    let mut text = String::new();
    for (_, line) in lines {
        text.push_str(line.trim());
        text.push(' ');
        if line.contains(ends) || line.trim_end().ends_with(',') && !text.contains('(') {
            break;
        }
    }
    text
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::report;

    fn found(path: &str, text: &str) -> String {
        let mut problems = Vec::new();
        check(&Tree::of(&[(path, text)]), &mut problems);
        report::lines(problems)
    }

    #[test]
    fn a_public_signature_that_names_a_driver_is_reported() {
        let text = "use rusqlite::{Connection, types::{Value as SqlValue}};\n\
                    pub fn open() -> rusqlite::Result<()> {\n}\n\
                    pub fn on(\n    connection: &Connection,\n) {\n}\n\
                    pub enum Error {\n    /// Text.\n    Sqlite(rusqlite::Error),\n}\n\
                    pub struct Shard {\n    connection: Connection,\n    pub value: SqlValue,\n}\n\
                    pub(crate) fn inner(connection: &Connection) {}\n\
                    impl From<rusqlite::Error> for Error {\n}\n\
                    pub use rusqlite::params;\n";
        expect![[r#"
            crates/store/src/a.rs:2: a public signature names `rusqlite`, a type of a driver
            crates/store/src/a.rs:4: a public signature names `Connection`, a type of a driver
            crates/store/src/a.rs:10: a public signature names `rusqlite`, a type of a driver
            crates/store/src/a.rs:14: a public signature names `SqlValue`, a type of a driver
            crates/store/src/a.rs:17: a public signature names `rusqlite`, a type of a driver
            crates/store/src/a.rs:19: a public signature names `rusqlite`, a type of a driver
        "#]]
        .assert_eq(&found("crates/store/src/a.rs", text));
    }

    #[test]
    fn the_inside_of_a_crate_is_its_own() {
        let text = "use rusqlite::Connection;\n\
                    pub(crate) enum Failure {\n    Sqlite(rusqlite::Error),\n}\n\
                    impl From<rusqlite::Error> for Failure {\n}\n\
                    /// Not a [`rusqlite::Connection`].\n\
                    pub struct Shard {\n    connection: Connection,\n}\n\
                    #[doc(hidden)]\n#[must_use]\npub fn of(connection: Connection) {\n}\n\
                    pub fn size(bytes: u64) -> u64 {\n    rusqlite::size(bytes)\n}\n";
        assert_eq!(found("crates/store/src/a.rs", text), "");
        assert_eq!(
            found("crates/cli/src/a.rs", "pub fn a() -> rusqlite::Error {\n"),
            ""
        );
    }
}
