//! The result of trying: data, printed by the command line.

use serde::{Deserialize, Serialize};

use super::super::spec::Rung;

/// All rungs, best first, each with its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ladder {
    /// One for each rung, in the order of [`Rung`].
    pub verdicts: Vec<Verdict>,
}

/// What is known of one rung.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which.
    pub rung: Rung,
    /// Whether it can be used.
    pub standing: Standing,
}

/// Whether a rung can be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It was tried and works.
    Works,
    /// It was tried and does not work.
    Fails {
        /// What the machine answered, one line.
        reason: String,
        /// What to do about it, one command or file change each, best first; may be empty.
        remedies: Vec<String>,
    },
    /// It was not tried.
    NotTried {
        /// Why, one line.
        reason: String,
    },
}

impl Ladder {
    /// The best rung that works; one that runs nothing is good enough for builds without RUN.
    pub fn best(&self, requires_run: bool) -> Rung {
        if !requires_run {
            return Rung::None;
        }
        self.verdicts
            .iter()
            .find(|verdict| verdict.standing == Standing::Works)
            .map_or(Rung::None, |verdict| verdict.rung)
    }

    /// The verdict on a rung.
    pub fn standing(&self, rung: Rung) -> Option<&Standing> {
        self.verdicts
            .iter()
            .find(|verdict| verdict.rung == rung)
            .map(|verdict| &verdict.standing)
    }
}

impl Rung {
    /// One line for the user: what the rung is, and what is off on it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Root => "root: all namespaces, overlay",
            Self::UserRange => "user namespace with subordinate ids: all namespaces, overlay",
            Self::UserSingle => {
                "user namespace with one id: all namespaces, overlay; owners are noted, not enforced"
            }
            Self::Chroot => "chroot: no process or network isolation, no setuid programs",
            Self::None => "no isolation: RUN is not possible",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_rung_is_the_first_that_works() {
        let fails = Standing::Fails {
            reason: "no".into(),
            remedies: Vec::new(),
        };
        let verdict = |rung, standing| Verdict { rung, standing };
        let mut ladder = Ladder {
            verdicts: vec![
                verdict(Rung::Root, fails.clone()),
                verdict(Rung::UserRange, Standing::Works),
                verdict(Rung::UserSingle, Standing::Works),
            ],
        };
        assert_eq!(ladder.best(true), Rung::UserRange);
        assert_eq!(ladder.best(false), Rung::None);
        ladder.verdicts[1].standing = fails.clone();
        ladder.verdicts[2].standing = fails;
        assert_eq!(ladder.best(true), Rung::None);
    }
}
