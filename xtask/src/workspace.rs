//! The packages of the workspace, as `cargo metadata` tells them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

use crate::shell;

/// Where the repository is.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// Why a package needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    /// To run.
    Normal,
    /// To be built, by a build script.
    Build,
    /// To be tested.
    Dev,
}

/// A package that another names in its manifest.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) requirement: String,
    pub(crate) features: Vec<String>,
    pub(crate) kind: DependencyKind,
    /// Whether it is a directory of this repository.
    pub(crate) local: bool,
}

/// A member of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) directory: PathBuf,
    pub(crate) published: bool,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) features: Vec<String>,
    pub(crate) examples: Vec<String>,
    /// The root source file of the library, if the package has one.
    pub(crate) lib_target: Option<PathBuf>,
}

/// Lists the members of the workspace, by name.
///
/// # Errors
///
/// When `cargo metadata` fails.
pub(crate) fn packages() -> anyhow::Result<Vec<Package>> {
    parse(&metadata()?)
}

/// Where a debug build leaves the `shardwright` binary.
///
/// # Errors
///
/// When `cargo metadata` fails.
pub(crate) fn binary() -> anyhow::Result<PathBuf> {
    program("debug", "shardwright")
}

/// Where cargo puts an example of the development profile.
///
/// # Errors
///
/// When `cargo metadata` fails.
pub(crate) fn example(name: &str) -> anyhow::Result<PathBuf> {
    program("debug/examples", name)
}

fn program(directory: &str, name: &str) -> anyhow::Result<PathBuf> {
    let metadata: Value = serde_json::from_str(&metadata()?).context("parse the cargo metadata")?;
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let target = PathBuf::from(text(&metadata["target_directory"]));
    Ok(target.join(directory).join(name))
}

fn metadata() -> anyhow::Result<String> {
    let mut command = shell::cargo(&root());
    command.args(["metadata", "--format-version", "1", "--no-deps"]);
    shell::output(&mut command)
}

fn parse(metadata: &str) -> anyhow::Result<Vec<Package>> {
    let metadata: Value = serde_json::from_str(metadata).context("parse the cargo metadata")?;
    let mut packages: Vec<Package> = list(&metadata["packages"]).map(package).collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(packages)
}

fn package(value: &Value) -> Package {
    let manifest = PathBuf::from(text(&value["manifest_path"]));
    let targets = |kind: &'static str| {
        list(&value["targets"]).filter(move |target| list(&target["kind"]).any(|one| one == kind))
    };
    Package {
        name: text(&value["name"]),
        directory: manifest.parent().map(Path::to_owned).unwrap_or_default(),
        published: value["publish"].is_null(),
        dependencies: list(&value["dependencies"]).map(dependency).collect(),
        features: value["features"]
            .as_object()
            .map(|features| features.keys().cloned().collect())
            .unwrap_or_default(),
        examples: targets("example")
            .map(|target| text(&target["name"]))
            .collect(),
        lib_target: targets("lib")
            .next()
            .map(|target| PathBuf::from(text(&target["src_path"]))),
    }
}

fn dependency(value: &Value) -> Dependency {
    Dependency {
        name: text(&value["name"]),
        requirement: text(&value["req"]),
        features: list(&value["features"]).map(text).collect(),
        kind: match value["kind"].as_str() {
            Some("dev") => DependencyKind::Dev,
            Some("build") => DependencyKind::Build,
            _ => DependencyKind::Normal,
        },
        local: value["path"].is_string(),
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_of_this_workspace_names_this_package() {
        let packages = packages().unwrap();
        let package = packages
            .iter()
            .find(|package| package.name == "xtask")
            .unwrap();
        assert!(!package.published);
        assert!(package.lib_target.is_none());
        assert_eq!(package.directory, root().join("xtask"));
        let snapshot = package
            .dependencies
            .iter()
            .find(|one| one.name == "expect-test")
            .unwrap();
        assert_eq!(snapshot.kind, DependencyKind::Dev);
        assert!(!snapshot.local);
    }

    #[test]
    fn a_dependency_by_path_is_local() {
        let metadata = r#"{"packages": [{
            "name": "a", "manifest_path": "/a/Cargo.toml", "publish": null,
            "targets": [{"name": "x", "kind": ["example"], "src_path": "/a/examples/x.rs"}],
            "features": {"full": []},
            "dependencies": [{"name": "b", "req": "^1", "kind": null, "path": "/b"}]
        }]}"#;
        let package = parse(metadata).unwrap().remove(0);
        assert!(package.published);
        assert_eq!(package.examples, ["x"]);
        assert_eq!(package.features, ["full"]);
        assert!(package.dependencies[0].local);
        assert_eq!(package.dependencies[0].kind, DependencyKind::Normal);
    }
}
