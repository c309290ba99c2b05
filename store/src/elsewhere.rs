//! What the manifest remembers of copies of Parquet files that are kept elsewhere, such as in a bucket.
//!
//! A copy is begun in the manifest before anybody makes it, and done once it is named there. So a merge knows every copy of its
//! inputs that may exist, and its output remembers them: they are replaced when the output is named in their place. In between
//! the far end has the rows of the inputs, afterwards those of the output, and at no time both.

use serde::{Deserialize, Serialize};

use crate::manifest::Parquet;

/// Of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Elsewhere {
    pub(crate) copy: Copy,
    /// Copies with rows that are in this file now.
    pub(crate) replaces: Vec<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Copy {
    #[default]
    None,
    /// Part of it, or all of it, may be there and even be named.
    Begun,
    /// It is there and named, and what it replaces is not.
    Done,
}

/// Of all files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Copies {
    /// No longer named; deleted when nobody can be reading them.
    pub(crate) replaced: Vec<ReplacedCopy>,
    /// Rows that left the disk before they were copied, by signal.
    pub(crate) lost_rows: [u64; 3],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReplacedCopy {
    pub(crate) path: String,
    pub(crate) since_ms: u64,
}

impl Elsewhere {
    pub(crate) fn is_nowhere(&self) -> bool {
        *self == Elsewhere::default()
    }

    /// Of a file with the rows of all of these.
    pub(crate) fn of_merged<'a>(inputs: impl Iterator<Item = &'a Parquet>) -> Elsewhere {
        let mut replaces = Vec::new();
        for input in inputs {
            replaces.extend(input.elsewhere.replaces.iter().cloned());
            if input.elsewhere.copy != Copy::None {
                replaces.push(input.path.clone());
            }
        }
        Elsewhere { copy: Copy::None, replaces }
    }
}

impl Copies {
    pub(crate) fn replace(&mut self, paths: &[String], since_ms: u64) {
        for path in paths {
            if !self.replaced.iter().any(|known| known.path == *path) {
                self.replaced.push(ReplacedCopy { path: path.clone(), since_ms });
            }
        }
    }
}
