//! Links between documents lead somewhere.

use super::markdown::{headings, prose};
use crate::{
    report::Problem,
    source::{File, Tree},
};

/// Reports relative links of documents to files or headings that do not exist, and documents that
/// Rust sources name although there are none.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    for file in tree.files.iter().filter(|file| file.is_markdown()) {
        for (number, line) in prose(file) {
            for target in targets(line) {
                if let Some(message) = broken(tree, file, target) {
                    problems.push(Problem::at(&file.path, number, message));
                }
            }
        }
    }
    for file in tree
        .files
        .iter()
        .filter(|file| file.is_rust() && file.path != EXEMPT)
    {
        check_mentions(tree, file, problems);
    }
}

/// The file whose tests name documents that do not exist.
const EXEMPT: &str = "xtask/src/tidy/links.rs";

/// What the links of a line of Markdown point at.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("](").filter_map(|(start, mark)| {
        let rest = &line[start + mark.len()..];
        rest.find(')').map(|end| &rest[..end])
    })
}

fn broken(tree: &Tree, file: &File, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        file.path.clone()
    } else {
        resolve(file.directory(), path)
    };
    if !tree.paths.contains(&path) {
        return Some(format!("link to `{target}`, which does not exist"));
    }
    let page = tree
        .files
        .iter()
        .find(|page| page.path == path && page.is_markdown())?;
    let known = anchor.is_empty() || headings(page).any(|heading| slug(heading.text) == anchor);
    (!known).then(|| format!("link to `{target}`, but {path} has no such heading"))
}

/// A path relative to `directory`, from the root.
fn resolve(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = directory
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in path.split('/').filter(|part| !part.is_empty()) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// The anchor of a heading, as the common renderers make it.
fn slug(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c })
        .collect::<String>()
        .to_lowercase()
}

/// Reports words in comments that name a document which the repository does not have.
fn check_mentions(tree: &Tree, file: &File, problems: &mut Vec<Problem>) {
    for (number, line) in file.lines() {
        let Some((_, comment)) = line.split_once("//") else {
            continue;
        };
        let separator = |c: char| !(c.is_alphanumeric() || matches!(c, '.' | '/' | '-' | '_'));
        for word in comment
            .split(separator)
            .map(|word| word.trim_end_matches('.'))
        {
            let known = tree.paths.iter().any(|path| {
                path == word
                    || path
                        .strip_suffix(word)
                        .is_some_and(|before| before.ends_with('/'))
            });
            if word.ends_with(".md") && word.len() > 3 && !known && !comment.contains("://") {
                let message = format!("names `{word}`, which the repository does not have");
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
    fn a_link_to_nothing_is_reported() {
        let files = [
            (
                "README.md",
                "# R\n[a](docs/guide.md#first-steps) [b](docs/gone.md)\n[c](#r)\n",
            ),
            (
                "docs/guide.md",
                "# Guide\n\n## First steps\n\n[up](../README.md#x)\n",
            ),
            (
                "docs/web.md",
                "# W\n[w](https://example.org/a.md)\n```text\n[x](y)\n```\n",
            ),
        ];
        expect![[r#"
            README.md:2: link to `docs/gone.md`, which does not exist
            docs/guide.md:5: link to `../README.md#x`, but README.md has no such heading
        "#]]
        .assert_eq(&found(check, &files));
    }

    #[test]
    fn a_comment_names_only_documents_that_exist() {
        let text = "//! See docs/guide.md.\n// As `plan.md` says.\nlet a = \"x.md\";\n";
        expect![[r#"
            a.rs:2: names `plan.md`, which the repository does not have
        "#]]
        .assert_eq(&found(
            check,
            &[("a.rs", text), ("docs/guide.md", "# Guide\n")],
        ));
    }
}
