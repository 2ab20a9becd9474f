//! Why there is no backup, or none that can be used.

use std::{io, path::PathBuf};

use shardwright_server::backup::FrameError;

/// A backup cannot be made, or not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// The name is one that no backup may have.
    #[error("{name:?} is no name for a backup")]
    BadName { name: String },
    /// There is something of that name.
    #[error("there is {} already", path.display())]
    Exists { path: PathBuf },
    /// There is none.
    #[error("{} is no backup: it has no manifest", path.display())]
    Absent { path: PathBuf },
    /// There is no complete one.
    #[error("there is no backup in {}", path.display())]
    Nothing { path: PathBuf },
    /// A part of it is not what it was.
    #[error("{} is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    /// Another release made it.
    #[error("{} has the format {found}, and this release reads {supported}", path.display())]
    UnknownFormat {
        path: PathBuf,
        found: u32,
        supported: u32,
    },
    /// Something is where it is to be restored.
    #[error("{} is not empty", path.display())]
    NotEmpty { path: PathBuf },
    /// The cluster has tables.
    #[error("the cluster is not empty: it has {found}")]
    ClusterNotEmpty { found: String },
    /// What a node sends does not end as it should.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A node sends what it does not announce.
    #[error("the node has sent something else than it announced: {what}")]
    Unexpected { what: String },
    /// A node has failed while it sent.
    #[error("{message}")]
    Node { code: String, message: String },
    /// The disk or the system failed.
    #[error("{action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl BackupError {
    pub(super) fn io(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    pub(super) fn damaged(path: impl Into<PathBuf>, why: impl Into<String>) -> Self {
        Self::Damaged {
            path: path.into(),
            why: why.into(),
        }
    }

    /// The code that programs recognise it by.
    pub(crate) fn code(&self) -> &str {
        match self {
            Self::BadName { .. } => "USAGE",
            Self::Exists { .. } => "EXISTS",
            Self::Absent { .. } | Self::Nothing { .. } => "NO_BACKUP",
            Self::Damaged { .. } => "DAMAGED",
            Self::UnknownFormat { .. } => "UNKNOWN_FORMAT",
            Self::NotEmpty { .. } | Self::ClusterNotEmpty { .. } => "NOT_EMPTY",
            Self::Frame(_) | Self::Unexpected { .. } => "BROKEN_OFF",
            Self::Node { code, .. } => code,
            Self::Io { .. } => "IO",
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::BadName { .. } => Some("use letters, digits, `-`, `_` and `.`"),
            Self::Exists { .. } => Some("choose another name"),
            Self::Absent { .. } => Some("`backup list` shows those that are complete"),
            Self::Nothing { .. } => Some("make one with `backup create`"),
            Self::Damaged { .. } => Some("restore another backup; this one is not to be trusted"),
            Self::UnknownFormat { .. } => Some("use the release that made it, or a newer one"),
            Self::NotEmpty { .. } => Some("name a directory that is empty or does not exist"),
            Self::ClusterNotEmpty { .. } => {
                Some("restore into a new cluster; one that was interrupted goes on with --resume")
            }
            Self::Frame(_) | Self::Node { .. } => {
                Some("make it again; nothing of this one is left")
            }
            Self::Unexpected { .. } => Some("use the release that the nodes run"),
            Self::Io { .. } => None,
        }
    }

    /// Whether going on would not be safe.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Exists { .. }
                | Self::Damaged { .. }
                | Self::NotEmpty { .. }
                | Self::ClusterNotEmpty { .. }
        )
    }
}
