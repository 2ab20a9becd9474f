//! What the documents name exists, and what exists is named.

use std::fs;

use crate::public_names::{crates, missing, root};

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("the document exists")
}

/// The words between backticks.
fn code_spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The rows of the tables of a document, as cells, without the head and the rule below it.
fn rows(document: &str) -> Vec<Vec<&str>> {
    let mut rows = Vec::new();
    let mut in_body = false;
    for line in document.lines() {
        let Some(row) = line.strip_prefix('|') else {
            in_body = false;
            continue;
        };
        let cells: Vec<&str> = row
            .trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        if cells.iter().all(|cell| cell.starts_with("---")) {
            in_body = true;
        } else if in_body {
            rows.push(cells);
        }
    }
    rows
}

/// Says why a name of ours in `docs/coming-from.md` does not exist.
fn missing_name(name: &str) -> Option<String> {
    if let Some(command) = name.strip_prefix("shardwright ") {
        return missing_command(command);
    }
    if name.contains("::") || crates().iter().any(|package| package == name) {
        return missing(name);
    }
    Some(format!(
        "`{name}` is neither `crate::name` nor `shardwright command`"
    ))
}

/// Says why a command line such as `import --dry-run` does not exist.
fn missing_command(line: &str) -> Option<String> {
    let mut words = line.split(' ');
    let command = words.next().unwrap_or_default();
    let source = root().join(format!("crates/cli/src/commands/{command}.rs"));
    let Ok(source) = fs::read_to_string(source) else {
        return Some(format!("there is no command `{command}`"));
    };
    words
        .filter_map(|word| word.strip_prefix("--"))
        .find_map(|flag| {
            let field = format!("{}:", flag.replace('-', "_"));
            let known = source.contains(&field) || source.contains(&format!("\"{flag}\""));
            (!known).then(|| format!("`{command}` has no option `--{flag}`"))
        })
}

#[test]
fn every_name_that_a_newcomer_is_told_exists() {
    let document = read("docs/coming-from.md");
    let rows = rows(&document);
    assert!(rows.len() > 1, "the page has tables");
    let problems: Vec<String> = rows
        .iter()
        .flat_map(|row| {
            assert_eq!(row.len(), 3, "a row is: theirs, ours, difference: {row:?}");
            assert!(
                code_spans(row[1]).count() > 0,
                "a row names something of ours: {row:?}"
            );
            code_spans(row[1]).filter_map(missing_name)
        })
        .collect();
    assert_eq!(problems, Vec::<String>::new());
}

#[test]
fn the_architecture_has_a_heading_for_each_crate() {
    let document = read("ARCHITECTURE.md");
    let headings: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("### `crates/"))
        .collect();
    let mut named: Vec<&str> = headings
        .iter()
        .filter_map(|heading| heading.split('`').next())
        .collect();
    named.sort_unstable();
    assert_eq!(
        named,
        crates(),
        "one heading for each directory under crates/"
    );
}

#[test]
fn the_readme_lists_each_crate() {
    let document = read("README.md");
    let named: Vec<&str> = rows(&document)
        .iter()
        .filter_map(|row| code_spans(row[0]).next())
        .collect();
    let mut expected: Vec<String> = crates();
    expected.retain(|name| name != "testkit");
    let absent: Vec<&String> = expected
        .iter()
        .filter(|name| {
            let package = format!("shardwright-{name}");
            !named.contains(&package.as_str()) && !named.contains(&name.as_str())
        })
        .collect();
    assert_eq!(absent, Vec::<&String>::new());
}

#[test]
fn the_guide_names_each_command() {
    let guide = read("docs/guide.md");
    let commands =
        fs::read_dir(root().join("crates/cli/src/commands")).expect("there are commands");
    for entry in commands {
        let path = entry.expect("a readable directory").path();
        let command = path
            .file_stem()
            .expect("a file name")
            .to_string_lossy()
            .into_owned();
        assert!(
            guide.contains(&format!("shardwright {command}")),
            "the guide is silent on `{command}`"
        );
    }
}
