//! The public names of the crates, found in their sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The directories under `crates/`, in order.
pub(crate) fn crates() -> Vec<String> {
    let entries = fs::read_dir(root().join("crates")).expect("the repository has crates");
    let mut names: Vec<String> = entries
        .map(|entry| {
            entry
                .expect("a readable directory")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}

/// Says why `path`, for example `hashing::Position::of`, is no public name; nothing if it is one.
pub(crate) fn missing(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split("::").collect();
    let package = parts.remove(0);
    let sources = sources(&root().join("crates").join(package).join("src"));
    let Some((_, front)) = sources
        .iter()
        .find(|(path, _)| path.ends_with("src/lib.rs"))
    else {
        return Some(format!("there is no crate `{package}`"));
    };
    let first = parts.first()?;
    if !exported(front).any(|word| word == *first) {
        return Some(format!("`{package}` does not export `{first}`"));
    }
    let last = parts[parts.len() - 1];
    let owner = parts
        .iter()
        .rev()
        .nth(1)
        .filter(|name| name.starts_with(char::is_uppercase));
    let declared = sources.iter().any(|(_, text)| match owner {
        Some(owner) => declares_member(text, owner, last),
        None => declares(text, last),
    });
    (!declared).then(|| format!("nothing in `{package}` declares `{path}`"))
}

/// Every Rust file below a directory, with its text.
fn sources(directory: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else {
        return files;
    };
    for entry in entries {
        let path = entry.expect("a readable directory").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a readable source file");
            files.push((path, text));
        }
    }
    files
}

/// The words of the public re-exports and modules of a crate's root.
fn exported(front: &str) -> impl Iterator<Item = &str> {
    front
        .split(';')
        .filter_map(|item| {
            item.find("pub use ")
                .or(item.find("pub mod "))
                .map(|at| &item[at..])
        })
        .flat_map(words)
}

/// Whether `text` declares a public item, or a method, of that name.
fn declares(text: &str, name: &str) -> bool {
    text.lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with("pub "))
        .any(|line| {
            let mut words =
                words(line).skip_while(|word| !KEYWORDS.contains(word) || *word == "const");
            words.next();
            words.next() == Some(name) || words_after(line, "const") == Some(name)
        })
}

const KEYWORDS: [&str; 7] = ["fn", "struct", "enum", "trait", "type", "const", "mod"];

fn words_after<'a>(line: &'a str, keyword: &str) -> Option<&'a str> {
    let mut words = words(line).skip_while(|word| *word != keyword);
    words.next();
    words.next()
}

/// Whether `text` declares `member` in a block of the type or trait `owner`.
fn declares_member(text: &str, owner: &str, member: &str) -> bool {
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with('}') {
            inside = false;
        }
        let opens = ["impl", "pub enum", "pub trait", "pub struct"]
            .iter()
            .any(|keyword| line.starts_with(keyword));
        if opens {
            inside = words(line).any(|word| word == owner);
        }
        let line = line.trim_start();
        if inside && !line.starts_with("//") {
            let function = words_after(line, "fn") == Some(member);
            let constant = words_after(line, "const") == Some(member);
            let field = words_after(line, "pub") == Some(member);
            let variant = words(line).next() == Some(member) && line.starts_with(member);
            if function || constant || field || variant {
                return true;
            }
        }
    }
    false
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .filter(|word| !word.is_empty())
}

#[test]
fn names_that_exist_are_told_from_those_that_do_not() {
    assert_eq!(missing("hashing"), None);
    assert_eq!(missing("hashing::hash_to_shard"), None);
    assert_eq!(missing("hashing::Position::of"), None);
    assert_eq!(missing("hashing::Position::MIN"), None);
    assert_eq!(missing("hashing::TypedKey::Integer"), None);
    assert!(missing("nothing::at_all").is_some());
    assert!(missing("hashing::no_such_function").is_some());
    assert!(missing("hashing::Position::no_such_method").is_some());
    assert!(missing("hashing::Position::hash_to_shard").is_some());
}
