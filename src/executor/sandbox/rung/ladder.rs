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

/// Why root's rungs are not for a user.
pub(super) const NOT_ROOT: &str = "you are not root";

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

    /// Why no rung works, in one line, and what to do, what takes least first. A rung that is not for
    /// this user is no reason.
    pub fn obstacles(&self) -> (String, Vec<String>) {
        let mut reasons: Vec<(Rung, &str)> = Vec::new();
        let mut wanted: Vec<String> = Vec::new();
        // The lower a rung, the less it needs.
        for verdict in self.verdicts.iter().rev() {
            let Standing::Fails { reason, remedies } = &verdict.standing else {
                continue;
            };
            if reason != NOT_ROOT {
                reasons.insert(0, (verdict.rung, reason));
            }
            for remedy in remedies {
                if !wanted.contains(remedy) {
                    wanted.push(remedy.clone());
                }
            }
        }
        let line = match reasons.as_slice() {
            [] => "this user has no privileges and no user namespaces".to_owned(),
            [(_, first), rest @ ..] if rest.iter().all(|(_, reason)| reason == first) => {
                (*first).to_owned()
            }
            reasons => {
                let tell = |(rung, reason): &(Rung, &str)| {
                    let name = rung.describe().split(':').next().unwrap_or_default();
                    format!("{name}: {reason}")
                };
                reasons.iter().map(tell).collect::<Vec<_>>().join("; ")
            }
        };
        (line, wanted)
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
    #[test]
    fn obstacles_are_told_once_and_the_least_remedy_first() {
        let fails = |rung, reason: &str, remedies: &[&str]| Verdict {
            rung,
            standing: Standing::Fails {
                reason: reason.into(),
                remedies: remedies.iter().map(|&remedy| remedy.into()).collect(),
            },
        };
        let ladder = |verdicts| Ladder { verdicts };
        let user = ladder(vec![
            fails(Rung::Root, NOT_ROOT, &[]),
            fails(Rung::UserRange, "no overlay", &["a volume"]),
            fails(Rung::UserSingle, "no overlay", &["a volume"]),
            fails(Rung::Chroot, NOT_ROOT, &[]),
        ]);
        assert_eq!(
            user.obstacles(),
            ("no overlay".into(), vec!["a volume".into()])
        );
        let root = ladder(vec![
            fails(Rung::Root, "no mounts", &["much"]),
            fails(Rung::Chroot, "no nodes", &["little"]),
        ]);
        assert_eq!(
            root.obstacles(),
            (
                "root: no mounts; chroot: no nodes".into(),
                vec!["little".into(), "much".into()]
            )
        );
        assert!(
            ladder(Vec::new())
                .obstacles()
                .0
                .contains("no user namespaces")
        );
    }
}
