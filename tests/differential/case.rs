//! The cases as data: `testdata/differential/AREA.txt`.
//!
//! A line that begins with `@` says something about the case, every other line is Dockerfile:
//!
//! | line | meaning |
//! |---|---|
//! | `@case NAME ROWS` | a new case; the rows of docs/compat.md that it covers (`32,34`) |
//! | `@about TEXT` | what the case is after |
//! | `@file PATH [mode=M] [fill=N] \| CONTENT` | a file of the context (`\n`, `\t`, `\\` in its content) |
//! | `@dir PATH [mode=M]`, `@link PATH -> TARGET`, `@hard PATH = OTHER`, `@fifo PATH` | other entries |
//! | `@xattr PATH NAME VALUE` | an extended attribute |
//! | `@archive PATH none\|gzip\|xz\|bzip2\|zstd` | an archive of the `@member`s that follow; `+zeros`, `+text` after it |
//! | `@member file\|dir\|link\|hard PATH MODE UID:GID \| CONTENT` | its entry; `hex:…` as content of `cap` |
//! | `@flag WORD` | a word for both builders, `@our-flag`, `@peer-flag` for one; `{context}` is replaced |
//! | `@crlf`, `@bom` | the form of the Dockerfile |
//! | `@dockerfile PATH` | its name, if it is not `Dockerfile` |
//! | `@has PATH = ENTRY`, `@has config.KEY = JSON` | what must come out, whatever the peer says |
//! | `@differs PATH = ENTRY \| REASON` | the same, where the peer has something else |
//! | `@fails TEXT` | neither builds it; we say `TEXT` |
//! | `@fails-here TEXT \| REASON` | the peer builds it, BuildKit and we do not |
//! | `@peer-fails REASON` | the peer cannot build it; `@has` tells what must come out |

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// An entry of a context or an archive.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// `file`, `dir`, `link`, `hard`, `fifo`, `xattr` or `archive`.
    pub(crate) kind: String,
    /// Where.
    pub(crate) path: String,
    /// Permissions, if they matter.
    pub(crate) mode: Option<u32>,
    /// Owner in an archive.
    pub(crate) owner: (u64, u64),
    /// Content, target, name and value, or compression.
    pub(crate) value: String,
    /// Of an archive.
    pub(crate) members: Vec<Item>,
}

/// What must come out at a path of the image, or at a key of its config.
#[derive(Clone, Debug)]
pub(crate) struct Expectation {
    /// Path without leading slash, or `config.KEY`.
    pub(crate) place: String,
    /// As [`super::tree::Node`] prints it, JSON, or `absent`.
    pub(crate) text: String,
    /// Why the peer has something else; `None` if it does not matter what it has.
    pub(crate) reason: Option<String>,
}

/// How a build must end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Both build it.
    Built,
    /// Neither does, and we say this.
    Fails(String),
    /// Only the peer does, for this reason.
    FailsHere(String, String),
    /// Only we do, for this reason.
    PeerFails(String),
}

/// One small context and its Dockerfile.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    /// Unique name.
    pub(crate) name: String,
    /// Rows of the scoreboard.
    pub(crate) rows: Vec<u32>,
    /// The context.
    pub(crate) items: Vec<Item>,
    /// The text of the Dockerfile.
    pub(crate) dockerfile: String,
    /// Its name.
    pub(crate) dockerfile_name: String,
    /// Words for us, words for the peer.
    pub(crate) flags: (Vec<String>, Vec<String>),
    /// What must come out besides what the peer has.
    pub(crate) expectations: Vec<Expectation>,
    /// How it ends.
    pub(crate) ending: Ending,
}

/// All cases of an area.
pub(crate) fn cases(area: &str) -> Vec<Case> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/differential");
    let text = fs::read_to_string(file.join(format!("{area}.txt"))).unwrap();
    let mut cases: Vec<Case> = Vec::new();
    let (mut crlf, mut bom) = (false, false);
    for line in text.lines() {
        let Some(rest) = line.strip_prefix('@') else {
            if let Some(case) = cases.last_mut() {
                let end = if crlf { "\r\n" } else { "\n" };
                if bom && case.dockerfile.is_empty() {
                    case.dockerfile.push('\u{feff}');
                }
                case.dockerfile.extend([line, end]);
            }
            continue;
        };
        let (word, rest) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "case" => {
                (crlf, bom) = (false, false);
                cases.push(Case::new(rest));
            }
            "crlf" => crlf = true,
            "bom" => bom = true,
            _ => cases.last_mut().expect("a case").line(word, rest),
        }
    }
    for case in &mut cases {
        // Cases are separated by blank lines.
        let length = case.dockerfile.trim_end_matches(['\n', '\r']).len();
        let end = if case.dockerfile[length..].starts_with('\r') {
            "\r\n"
        } else {
            "\n"
        };
        case.dockerfile.replace_range(length.., end);
    }
    cases
}

impl Case {
    fn new(text: &str) -> Self {
        let (name, rows) = text.split_once(' ').unwrap_or((text, ""));
        let rows = rows.split(',').filter(|row| !row.is_empty());
        Self {
            name: name.to_owned(),
            rows: rows.map(|row| row.trim().parse().unwrap()).collect(),
            items: Vec::new(),
            dockerfile: String::new(),
            dockerfile_name: "Dockerfile".to_owned(),
            flags: (Vec::new(), Vec::new()),
            expectations: Vec::new(),
            ending: Ending::Built,
        }
    }

    fn line(&mut self, word: &str, rest: &str) {
        match word {
            "about" => {}
            "dockerfile" => rest.clone_into(&mut self.dockerfile_name),
            "flag" => {
                self.flags.0.push(rest.to_owned());
                self.flags.1.push(rest.to_owned());
            }
            "our-flag" => self.flags.0.push(rest.to_owned()),
            "peer-flag" => self.flags.1.push(rest.to_owned()),
            "has" => self.expectations.push(expectation(rest, false)),
            "differs" => self.expectations.push(expectation(rest, true)),
            "fails" => self.ending = Ending::Fails(rest.to_owned()),
            "fails-here" => {
                let (text, reason) = rest.split_once(" | ").expect("a reason");
                self.ending = Ending::FailsHere(text.to_owned(), reason.to_owned());
            }
            "peer-fails" => self.ending = Ending::PeerFails(rest.to_owned()),
            "member" => {
                let archive = self.items.last_mut().expect("an archive");
                archive.members.push(member(rest));
            }
            _ => self.items.push(item(word, rest)),
        }
    }
}

/// `testdata/differential/docker.txt`: what BuildKit in Debian's Docker engine is known to make
/// otherwise, as (case, place).
pub(crate) fn known_of_docker() -> BTreeSet<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("testdata/differential/docker.txt")).unwrap();
    text.lines()
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '@']))
        .map(|line| line.split_once(' ').expect("`CASE PLACE`"))
        .map(|(case, place)| (case.to_owned(), place.to_owned()))
        .collect()
}

fn expectation(text: &str, differs: bool) -> Expectation {
    let (text, reason) = match text.rsplit_once(" | ") {
        Some((text, reason)) if differs => (text, Some(reason.to_owned())),
        _ => (text, None),
    };
    assert_eq!(differs, reason.is_some(), "a reason for `{text}`");
    let (place, text) = text.split_once(" = ").expect("`PATH = ENTRY`");
    Expectation {
        place: place.to_owned(),
        text: text.to_owned(),
        reason,
    }
}

fn unescape(text: &str) -> String {
    let mut result = String::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match (character, character == '\\') {
            (_, true) => match characters.next() {
                Some('n') => result.push('\n'),
                Some('t') => result.push('\t'),
                Some(other) => result.push(other),
                None => result.push('\\'),
            },
            _ => result.push(character),
        }
    }
    result
}

fn item(kind: &str, rest: &str) -> Item {
    let (head, value) = match kind {
        "link" => rest.split_once(" -> ").expect("`PATH -> TARGET`"),
        "hard" => rest.split_once(" = ").expect("`PATH = OTHER`"),
        "xattr" | "archive" => rest.split_once(' ').expect("`PATH VALUE`"),
        "file" | "dir" | "fifo" => rest.split_once(" |").unwrap_or((rest, "")),
        _ => panic!("unknown line `@{kind} {rest}`"),
    };
    let mut words = head.split(' ').collect::<Vec<_>>();
    let option = |words: &mut Vec<&str>, name: &str| {
        let found = words
            .last()
            .and_then(|word| word.strip_prefix(name).map(str::to_owned));
        if found.is_some() {
            words.pop();
        }
        found
    };
    let fill = option(&mut words, "fill=").map(|number| number.parse::<usize>().unwrap());
    let mode = option(&mut words, "mode=").map(|mode| u32::from_str_radix(&mode, 8).unwrap());
    let mut content = unescape(value.strip_prefix(' ').unwrap_or(value));
    if let Some(size) = fill {
        content = content.repeat(size);
    }
    let (path, owner) = (words.join(" "), (0, 0));
    Item {
        kind: kind.to_owned(),
        path,
        mode,
        owner,
        value: content,
        members: Vec::new(),
    }
}

fn member(text: &str) -> Item {
    let (head, value) = text.split_once(" |").unwrap_or((text, ""));
    let mut words = head.split(' ');
    let mut next = || words.next().expect("`KIND PATH MODE UID:GID`").to_owned();
    let (kind, path, mode, owner) = (next(), next(), next(), next());
    let (uid, gid) = owner.split_once(':').expect("`UID:GID`");
    Item {
        kind,
        path,
        mode: Some(u32::from_str_radix(&mode, 8).unwrap()),
        owner: (uid.parse().unwrap(), gid.parse().unwrap()),
        value: unescape(value.strip_prefix(' ').unwrap_or(value)),
        members: Vec::new(),
    }
}
