//! Nothing refers to the machine of whoever wrote it.

use crate::{report::Problem, source::Tree};

/// The roots under which people and build machines keep what nobody else has.
const MACHINE: [&str; 4] = ["/home/", "/root/", "/Users/", "/tmp/"];

/// The file that has to name them.
const EXEMPT: &str = "xtask/src/tidy/paths.rs";

/// Reports absolute paths of one machine.
pub(super) fn check(tree: &Tree, problems: &mut Vec<Problem>) {
    for file in tree.files.iter().filter(|file| file.path != EXEMPT) {
        for (number, line) in file.lines() {
            for directory in MACHINE {
                if line
                    .match_indices(directory)
                    .any(|(start, _)| is_absolute(&line[..start]))
                {
                    let message = format!("`{directory}` is a path of one machine");
                    problems.push(Problem::at(&file.path, number, message));
                }
            }
        }
    }
}

/// Whether a path that starts after `before` starts there.
fn is_absolute(before: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '~' | '}');
    !before.ends_with(part)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{super::found, check};

    #[test]
    fn a_path_of_one_machine_is_reported() {
        let text = "let a = \"/home/me/x\";\nlet b = \"https://example.org/home/me\";\n";
        expect![[r#"
            a.rs:1: `/home/` is a path of one machine
        "#]]
        .assert_eq(&found(check, &[("a.rs", text)]));
    }
}
