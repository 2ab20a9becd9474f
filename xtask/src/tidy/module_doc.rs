//! Every Rust file says at its top what it is.

use crate::{report::Problem, source::Tree};

/// Reports Rust files that do not start with a module comment.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    for file in tree.files.iter().filter(|file| file.is_rust()) {
        let first = file.text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") {
            problems.push(Problem::at(
                &file.path,
                1,
                "start the file with `//! What it is`",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{super::found, check};

    #[test]
    fn a_file_without_a_module_comment_is_reported() {
        let files = [
            ("a.rs", "//! Good.\n"),
            ("b.rs", "use std::fmt;\n"),
            ("c.rs", ""),
        ];
        expect![[r#"
            b.rs:1: start the file with `//! What it is`
            c.rs:1: start the file with `//! What it is`
        "#]]
        .assert_eq(&found(check, &files));
    }
}
