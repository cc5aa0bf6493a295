//! COPY and ADD: words to what is copied from where to where.

use crate::diagnostic::{Diagnostic, Span};
use crate::digest::Digest;
use crate::parser::ast::{Copy, CopySource, Word};

use super::super::op::{Chmod, CopyInput, CopyOp, Source, Unpack};
use super::super::scope::Scope;
use super::super::words::Words;
use super::config::ConfigFold;
use super::{chmod, path};

/// What a COPY's meaning depends on besides its own text.
pub(crate) struct CopyScope<'a> {
    /// How to expand.
    pub(crate) words: &'a Words,
    /// The stage's variables.
    pub(crate) scope: &'a Scope,
    /// The stage's config.
    pub(crate) fold: &'a ConfigFold,
    /// Where sources come from.
    pub(crate) from: Source,
    /// Whether this is ADD.
    pub(crate) add: bool,
}

/// Lowers a COPY or ADD: the operation and its line of history.
pub(crate) fn lower(
    copy: &Copy,
    span: Span,
    scope: &CopyScope<'_>,
) -> Result<(CopyOp, String), Diagnostic> {
    let words = scope.words;
    let expand = |word: &Option<Word>| -> Result<Option<String>, Diagnostic> {
        let expanded = word.as_ref().map(|word| words.word(word, scope.scope));
        Ok(expanded.transpose()?.filter(|text| !text.is_empty()))
    };
    let chown = expand(&copy.chown)?;
    let chmod_text = expand(&copy.chmod)?;
    let mode = match (&chmod_text, &copy.chmod) {
        (Some(text), Some(word)) => Some(parse_chmod(text, word.span, words)?),
        _ => None,
    };
    let Some(destination) = &copy.destination else {
        let message = "COPY requires at least two arguments, but only one was provided";
        return Err(words.error("missing-destination", span, message));
    };
    let written = words.word(destination, scope.scope)?;
    let sources = sources(copy, scope)?;
    let keyword = if scope.add { "ADD" } else { "COPY" };
    let history = history(keyword, copy, (&chown, &chmod_text), &sources, &written);
    let checksum = expand(&copy.checksum)?;
    let inputs = inputs(copy, &sources, checksum, scope)?;
    let cwd = scope.fold.directory();
    let target = if scope.fold.is_windows() {
        windows(&written, destination.span, words)?
    } else {
        written
    };
    let is_directory = matches!(target.as_str(), "" | "." | "..")
        || target.ends_with('/')
        || target.ends_with("/.")
        || target.ends_with("/..");
    // BuildKit builds no layer of its own for `--link` when a mode is given.
    let link = copy.link && mode.is_none();
    if link && let (Some(chown), Some(word)) = (&chown, &copy.chown) {
        reject_names(chown, word.span, words)?;
    }
    let op = CopyOp {
        from: scope.from.clone(),
        inputs,
        destination: path::join(&cwd, &target),
        destination_is_directory: is_directory,
        chown,
        chmod: mode,
        link,
        parents: copy.parents,
        excludes: copy.excludes.iter().map(|word| word.raw.clone()).collect(),
        unpack: match (scope.add, copy.unpack) {
            (false, _) | (true, Some(false)) => Unpack::Never,
            (true, None) => Unpack::Local,
            (true, Some(true)) => Unpack::Always,
        },
    };
    Ok((op, history))
}

/// A source with its words expanded.
enum Expanded<'a> {
    Word(&'a Word, String),
    File(&'a str, String),
}

/// Ordinary sources first, then heredocs, as BuildKit copies them.
fn sources<'a>(copy: &'a Copy, scope: &CopyScope<'_>) -> Result<Vec<Expanded<'a>>, Diagnostic> {
    let mut sources = Vec::with_capacity(copy.sources.len());
    let mut files = Vec::new();
    for source in &copy.sources {
        match source {
            CopySource::Path(word) => {
                let text = scope.words.word(word, scope.scope)?;
                sources.push(Expanded::Word(word, text));
            }
            CopySource::Heredoc(heredoc) => {
                let body = scope.words.body(heredoc, scope.scope)?;
                files.push(Expanded::File(&heredoc.name, body));
            }
        }
    }
    sources.extend(files);
    Ok(sources)
}

fn inputs(
    copy: &Copy,
    sources: &[Expanded<'_>],
    checksum: Option<String>,
    scope: &CopyScope<'_>,
) -> Result<Vec<CopyInput>, Diagnostic> {
    let words = scope.words;
    if let (Some(_), Some(word)) = (&checksum, &copy.checksum) {
        let problem = match sources {
            [Expanded::Word(_, text)] if is_git(text) || is_http(text) => None,
            [_] => Some("checksum requires HTTP(S) or Git sources"),
            _ => Some("checksum can't be specified for multiple sources"),
        };
        if let Some(problem) = problem {
            return Err(words.error("invalid-checksum", word.span, problem));
        }
    }
    let input = |source: &Expanded<'_>| match source {
        Expanded::File(name, body) => Ok(CopyInput::Inline {
            name: (*name).to_owned(),
            data: body.as_bytes().to_vec(),
        }),
        Expanded::Word(word, text) if is_git(text) => {
            if !scope.add {
                let message = "source can't be a git ref for COPY";
                let error = words.error("remote-copy", word.span, message);
                return Err(error.help("use ADD"));
            }
            Ok(CopyInput::Git {
                url: text.clone(),
                keep_git_dir: copy.keep_git_dir.unwrap_or(false),
                checksum: checksum.clone(),
            })
        }
        Expanded::Word(word, text) if is_http(text) => {
            if !scope.add {
                let message = "source can't be a URL for COPY";
                let error = words.error("remote-copy", word.span, message);
                return Err(error.help("use ADD"));
            }
            let checksum = checksum.as_deref().map(|text| digest(text, copy, words));
            Ok(CopyInput::Url {
                url: text.clone(),
                checksum: checksum.transpose()?,
            })
        }
        Expanded::Word(word, text) => {
            let text = if scope.fold.is_windows() {
                windows(text, word.span, words)?
            } else {
                text.clone()
            };
            Ok(CopyInput::Path(clean_source(&text, copy.parents)))
        }
    };
    sources.iter().map(input).collect()
}

/// A path of a Windows image with slashes and without drive letter.
fn windows(text: &str, span: Span, words: &Words) -> Result<String, Diagnostic> {
    path::from_windows(text).map_err(|message| {
        let error = words.error("windows-path", span, message);
        error.help("name a path below C:\\")
    })
}

fn digest(text: &str, copy: &Copy, words: &Words) -> Result<Digest, Diagnostic> {
    text.parse().map_err(|_| {
        let span = copy
            .checksum
            .as_ref()
            .map_or(Span::default(), |word| word.span);
        let message = format!("invalid checksum digest format: {text}");
        let error = words.error("invalid-checksum", span, message);
        error.help("write sha256: and 64 hex digits")
    })
}

/// A source path relative to its root; with `--parents` the first `/./` stays as the pivot.
fn clean_source(text: &str, parents: bool) -> String {
    match text.split_once("/./") {
        Some((front, rest)) if parents => match (path::clean(front), path::clean(rest)) {
            (front, rest) if front.is_empty() => rest,
            (front, rest) => format!("{front}/./{rest}"),
        },
        _ => path::clean(text),
    }
}

fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Whether ADD fetches this with git: `git://`, `ssh://`, `user@host:path`, or `http(s)` whose path
/// ends with `.git`.
fn is_git(text: &str) -> bool {
    if text.starts_with("git://") || text.starts_with("ssh://") {
        return true;
    }
    if is_http(text) {
        let path = text.split(['#', '?']).next().unwrap_or(text);
        return path.strip_suffix(".git").is_some();
    }
    let Some((host, path)) = text.split_once(':') else {
        return false;
    };
    let plain = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    !path.is_empty()
        && host
            .split_once('@')
            .is_some_and(|(user, host)| plain(user) && plain(host))
}

fn parse_chmod(text: &str, span: Span, words: &Words) -> Result<Chmod, Diagnostic> {
    chmod::parse(text).map_err(|message| words.error("invalid-chmod", span, message))
}

/// A layer of its own has no `/etc/passwd` to look names up in.
fn reject_names(chown: &str, span: Span, words: &Words) -> Result<(), Diagnostic> {
    let (user, group) = chown.split_once(':').unwrap_or((chown, ""));
    let numeric = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit());
    if numeric(user) && numeric(group) {
        return Ok(());
    }
    let message = format!("--chown={chown} with --link: invalid user index: -1");
    let error = words.error("named-chown-with-link", span, message);
    Err(error.help("use numbers, or drop --link: names are looked up in the image below"))
}

fn history(
    keyword: &str,
    copy: &Copy,
    (chown, chmod): (&Option<String>, &Option<String>),
    sources: &[Expanded<'_>],
    destination: &str,
) -> String {
    let mut line = keyword.to_owned();
    let mut push = |front: &str, text: &str| {
        line.push(' ');
        line.push_str(front);
        line.push_str(text);
    };
    if copy.parents {
        push("", "--parents");
    }
    if let Some(chown) = chown {
        push("--chown=", chown);
    }
    if let Some(chmod) = chmod {
        push("--chmod=", chmod);
    }
    for source in sources {
        match source {
            Expanded::Word(_, text) => push("", text),
            Expanded::File(name, _) => push("<<", name),
        }
    }
    push("", destination);
    line.push_str(" # buildkit");
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_clamped_to_their_root() {
        for (text, parents, clean) in [
            ("./a//b/", false, "a/b"),
            ("/../x", false, "x"),
            (".", false, ""),
            ("a/./b", false, "a/b"),
            ("a/./b/./c", true, "a/./b/c"),
            ("./a/./**/*.rs", true, "a/./**/*.rs"),
            ("/./b", true, "b"),
        ] {
            assert_eq!(clean_source(text, parents), clean, "{text}");
        }
    }

    #[test]
    fn git_sources_are_told_from_files_and_urls() {
        for (text, git) in [
            ("git@github.com:a/b.git", true),
            ("https://h/x.git#main:sub", true),
            ("https://h/x.git?ref=v1", true),
            ("git://h/x", true),
            ("ssh://git@h/x", true),
            ("https://h/x.tar.gz", false),
            ("github.com/a/b", false),
            ("a/b:c", false),
            ("user@host", false),
        ] {
            assert_eq!(is_git(text), git, "{text}");
        }
    }
}
