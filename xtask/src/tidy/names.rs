//! Names say what a thing is, and not that it is a thing.

use super::words::declared;
use crate::{
    report::Problem,
    source::{File, Tree},
};

/// Endings of type names that say nothing about the domain.
const ENDINGS: [&str; 9] = [
    "Manager",
    "Helper",
    "Util",
    "Utils",
    "Info",
    "Data",
    "Wrapper",
    "Impl",
    "Processor",
];

/// Types whose name the documents that Shardwright implements have fixed.
const FIXED_TYPES: [&str; 1] = ["ElasticShardManager"];

/// Functions whose name those documents have fixed.
const FIXED_FUNCTIONS: [&str; 6] = [
    "get_data",
    "get_keys",
    "get_metrics",
    "get_shard",
    "get_shard_for_key",
    "get_shard_statistics",
];

/// Files that would collect what has no place.
const STEMS: [&str; 8] = [
    "common", "helper", "helpers", "impls", "misc", "types", "util", "utils",
];

/// Reports types, functions and files with empty names.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        if STEMS.contains(&file.stem()) {
            problems.push(Problem::of(
                &file.path,
                "name the file by the concept in it",
            ));
        }
        check_declarations(file, problems);
    }
}

fn check_declarations(file: &File, problems: &mut Vec<Problem>) {
    for (number, line) in file.lines() {
        if let Some(name) = declared(line, &["struct", "enum", "trait", "type"]) {
            let ending = ENDINGS.iter().find(|ending| name.ends_with(**ending));
            if let Some(ending) = ending.filter(|_| !FIXED_TYPES.contains(&name)) {
                let message = format!("`{name}` ends in `{ending}`; name it by what it is");
                problems.push(Problem::at(&file.path, number, message));
            }
        }
        if let Some(name) = declared(line, &["fn"]) {
            if name.starts_with("get_") && !FIXED_FUNCTIONS.contains(&name) {
                let message = format!("`{name}`: drop the `get_`");
                problems.push(Problem::at(&file.path, number, message));
            }
            if name.starts_with("test_") {
                let message = format!("`{name}`: a test is named by a sentence");
                problems.push(Problem::at(&file.path, number, message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{super::found, check};

    #[test]
    fn empty_names_are_reported_and_fixed_ones_pass() {
        let text = "pub struct ShardManager;\npub(crate) enum NodeInfo {}\n\
                    pub struct ElasticShardManager;\n    fn get_node(&self) {}\n\
                    async fn get_keys() {}\nfn test_ring() {}\nstruct Metadata;\n";
        expect![[r#"
            a.rs:1: `ShardManager` ends in `Manager`; name it by what it is
            a.rs:2: `NodeInfo` ends in `Info`; name it by what it is
            a.rs:4: `get_node`: drop the `get_`
            a.rs:6: `test_ring`: a test is named by a sentence
            b/utils.rs: name the file by the concept in it
        "#]]
        .assert_eq(&found(check, &[("a.rs", text), ("b/utils.rs", "")]));
    }
}
