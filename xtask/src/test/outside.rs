//! Uses a library as a stranger does: one path dependency, default features, no workspace.
//!
//! The program is the example of the crate's front page, so that the first thing that a reader
//! tries is known to work with nothing but what its manifest names. Settings of this repository's
//! `.cargo/config.toml` do not reach it; a page that asks for settings has them in a block of TOML.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context;

use crate::{
    shell,
    workspace::{DependencyKind, Package},
};

/// Builds and runs a crate that depends on `package` alone.
///
/// # Errors
///
/// When it does not build, or does not end with exit code 0.
pub(super) fn run(root: &Path, package: &Package, lib_target: &Path) -> anyhow::Result<()> {
    let page =
        fs::read_to_string(lib_target).with_context(|| format!("read {}", lib_target.display()))?;
    let example = front_page_example(&page).unwrap_or_default();
    let directory = tempfile::tempdir().context("create a directory for the crate")?;
    let source = directory.path().join("src");
    fs::create_dir(&source)?;
    fs::write(source.join("main.rs"), program(&package.name, &example))?;
    fs::write(
        directory.path().join("Cargo.toml"),
        manifest(package, &example),
    )?;
    if let Some(config) = front_page_block(&page, |fence| fence == "```toml") {
        fs::create_dir(directory.path().join(".cargo"))?;
        fs::write(directory.path().join(".cargo/config.toml"), config)?;
    }
    fs::copy(root.join("Cargo.lock"), directory.path().join("Cargo.lock"))
        .context("copy Cargo.lock, for the versions")?;

    let mut command = shell::cargo(directory.path());
    command.env("CARGO_TARGET_DIR", root.join("target/outside"));
    let config = fs::read_to_string(root.join(".cargo/config.toml")).unwrap_or_default();
    for variable in configured_variables(&config) {
        command.env_remove(variable);
    }
    shell::run(command.args(["run", "--quiet"]))
}

/// The first code block in the documentation of a crate that is meant to run.
fn front_page_example(page: &str) -> Option<String> {
    front_page_block(page, |fence| matches!(fence, "```" | "```rust"))
}

/// The first block in the documentation of a crate that begins as wanted, without the marks that hide lines from readers.
fn front_page_block(page: &str, is_wanted: impl Fn(&str) -> bool) -> Option<String> {
    let mut lines = page.lines().map_while(|line| line.strip_prefix("//!"));
    loop {
        let fence = lines.find(|line| line.trim().starts_with("```"))?;
        let block = lines.by_ref().take_while(|line| line.trim() != "```");
        if is_wanted(fence.trim()) {
            return Some(block.map(|line| format!("{}\n", shown(line))).collect());
        }
        block.for_each(drop);
    }
}

fn shown(line: &str) -> &str {
    let line = line.strip_prefix(' ').unwrap_or(line);
    match line.trim() {
        "#" => "",
        trimmed => trimmed.strip_prefix("# ").unwrap_or(line),
    }
}

/// The example as a program, in the way in which rustdoc makes one.
fn program(package: &str, example: &str) -> String {
    let name = package.replace('-', "_");
    if example.contains("fn main()") {
        return format!("use {name} as _;\n{example}");
    }
    if example.trim_end().ends_with("(())") {
        return format!(
            "use {name} as _;\nfn main() {{\nfn example() -> Result<(), impl core::fmt::Debug> \
             {{\n{example}}}\nexample().expect(\"the example succeeds\");\n}}\n"
        );
    }
    format!("use {name} as _;\nfn main() {{\n{example}}}\n")
}

/// A manifest that names the package and those of its dev-dependencies that the example uses.
fn manifest(package: &Package, example: &str) -> String {
    let mut text = format!(
        "[package]\nname = \"outside\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n\n\
         [dependencies]\n{} = {{ path = {:?} }}\n",
        package.name, package.directory
    );
    for dependency in &package.dependencies {
        let used = example.contains(&format!("{}::", dependency.name.replace('-', "_")));
        if dependency.kind == DependencyKind::Dev && !dependency.local && used {
            let (name, requirement) = (&dependency.name, &dependency.requirement);
            let features = &dependency.features;
            let _ = writeln!(
                text,
                "{name} = {{ version = {requirement:?}, features = {features:?} }}"
            );
        }
    }
    text
}

/// The names in the `[env]` section of a cargo configuration. Cargo has set them for this process.
fn configured_variables(config: &str) -> impl Iterator<Item = &str> {
    let section = config
        .lines()
        .skip_while(|line| line.trim() != "[env]")
        .skip(1);
    section
        .take_while(|line| !line.starts_with('['))
        .filter(|line| !line.trim_start().starts_with('#'))
        .filter_map(|line| line.split_once('=').map(|(name, _)| name.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_block_that_runs_is_the_example() {
        let page = "//! Text.\n//! ```text\n//! a diagram\n//! ```\n//!\n//! ```\n\
                    //! # use a::B;\n//! let b = B;\n//! # Ok::<_, B>(())\n//! ```\n\nmod b;\n";
        let example = front_page_example(page).unwrap();
        assert_eq!(example, "use a::B;\nlet b = B;\nOk::<_, B>(())\n");
    }

    #[test]
    fn the_settings_that_a_page_asks_for_are_found() {
        let page = "//! Text.\n//! ```\n//! x();\n//! ```\n//! ```toml\n//! [env]\n//! A = \"1\"\n//! ```\n";
        let config = front_page_block(page, |fence| fence == "```toml");
        assert_eq!(config.as_deref(), Some("[env]\nA = \"1\"\n"));
    }

    #[test]
    fn a_page_without_example_has_none() {
        assert_eq!(
            front_page_example("//! Text.\n//! ```no_run\n//! x();\n//! ```\n"),
            None
        );
    }

    #[test]
    fn a_fallible_example_is_unwrapped_by_its_program() {
        let program = program("shardwright-a", "f()?;\nOk::<_, E>(())\n");
        assert!(program.starts_with("use shardwright_a as _;"));
        assert!(program.contains("-> Result<(), impl core::fmt::Debug>"));
    }

    #[test]
    fn the_variables_of_the_configuration_are_known() {
        let config =
            "[alias]\nx = \"y\"\n\n[env]\n# why\nA_FLAG = \"1\"\nB = \"2\"\n[build]\nC = 1\n";
        assert_eq!(
            configured_variables(config).collect::<Vec<_>>(),
            ["A_FLAG", "B"]
        );
    }
}
