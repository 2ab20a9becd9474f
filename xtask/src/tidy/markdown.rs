//! Every document has one title, at its top, and headings that descend one level at a time.

use crate::{
    report::Problem,
    source::{File, Tree},
};

/// Reports documents without a title at the top, with more than one, and skipped heading levels.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    for file in tree.files.iter().filter(|file| file.is_markdown()) {
        if !file.text.starts_with("# ") {
            problems.push(Problem::at(
                &file.path,
                1,
                "start the document with `# Title`",
            ));
        }
        let mut above = 0;
        for heading in headings(file) {
            if heading.level == 1 && above > 0 {
                problems.push(Problem::at(&file.path, heading.line, "a second `# Title`"));
            }
            if heading.level > above + 1 && above > 0 {
                problems.push(Problem::at(
                    &file.path,
                    heading.line,
                    "a heading level is left out",
                ));
            }
            above = heading.level;
        }
    }
}

/// A heading of a document.
#[derive(Debug)]
pub(super) struct Heading<'a> {
    pub(super) line: usize,
    pub(super) level: usize,
    pub(super) text: &'a str,
}

/// The headings of a document, outside of code blocks.
pub(super) fn headings(file: &File) -> impl Iterator<Item = Heading<'_>> {
    prose(file).filter_map(|(line, text)| {
        let level = text.bytes().take_while(|byte| *byte == b'#').count();
        let text = text[level..].strip_prefix(' ').filter(|_| level > 0)?;
        Some(Heading {
            line,
            level,
            text: text.trim(),
        })
    })
}

/// The lines of a document that are not in a code block.
pub(super) fn prose(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    file.lines().filter(move |(_, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{super::found, check};

    #[test]
    fn a_document_has_one_title_at_its_top() {
        let files = [
            (
                "a.md",
                "# A\n\n```sh\n# a comment\n```\n\n## Part\n\n### Piece\n",
            ),
            ("b.md", "Text.\n\n# B\n\n# C\n"),
            ("c.md", "# C\n\n### Deep\n"),
        ];
        expect![[r#"
            b.md:1: start the document with `# Title`
            b.md:5: a second `# Title`
            c.md:3: a heading level is left out
        "#]]
        .assert_eq(&found(check, &files));
    }
}
