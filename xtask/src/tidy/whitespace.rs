//! No space that nobody sees.

use crate::{
    report::Problem,
    source::{File, Tree},
};

/// Reports spaces at the end of lines, carriage returns, tabs in Rust, and files whose last line
/// does not end, or is empty.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    for file in &tree.files {
        check_lines(file, problems);
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            problems.push(Problem::of(&file.path, "end the last line"));
        }
        if file.text.ends_with("\n\n") {
            problems.push(Problem::of(&file.path, "empty lines at the end"));
        }
    }
}

fn check_lines(file: &File, problems: &mut Vec<Problem>) {
    for (index, line) in file.text.split('\n').enumerate() {
        let number = index + 1;
        if line.ends_with('\r') {
            problems.push(Problem::at(
                &file.path,
                number,
                "carriage return at the end of the line",
            ));
        } else if line.ends_with([' ', '\t']) {
            problems.push(Problem::at(
                &file.path,
                number,
                "space at the end of the line",
            ));
        }
        if file.is_rust() && line.starts_with('\t') {
            problems.push(Problem::at(
                &file.path,
                number,
                "tab; indent with four spaces",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{super::found, check};

    #[test]
    fn space_that_nobody_sees_is_reported() {
        let files = [
            ("a.rs", "x \n\ty\nz\r\n"),
            ("b.md", "# B\n\n"),
            ("c.md", "# C"),
            ("d.md", "# D\n"),
        ];
        expect![[r#"
            a.rs:1: space at the end of the line
            a.rs:2: tab; indent with four spaces
            a.rs:3: carriage return at the end of the line
            b.md: empty lines at the end
            c.md: end the last line
        "#]]
        .assert_eq(&found(check, &files));
    }
}
