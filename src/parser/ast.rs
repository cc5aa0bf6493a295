//! The tree of a Dockerfile: shape only. Names are unresolved, nothing is expanded.
//!
//! Every text keeps its span in the original file, also when it was joined over continuation
//! lines (then the span covers the first to the last byte).

use std::sync::Arc;

use crate::diagnostic::{SourceFile, Span, Spanned};

/// A whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// The text that all spans index.
    pub source: Arc<SourceFile>,
    /// The directives at the top.
    pub directives: Directives,
    /// Every instruction in order, wrong ones included as [`Command::Error`].
    pub instructions: Vec<Instruction>,
}

/// Parser directives (`# name=value` in the first lines).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `# syntax=`: the whole value.
    pub syntax: Option<Spanned<String>>,
    /// `# escape=`: a backslash or a backtick.
    pub escape: Option<Spanned<char>>,
    /// `# check=`: the whole value.
    pub check: Option<Spanned<String>>,
}

impl Dockerfile {
    /// The escape character in force.
    pub fn escape(&self) -> char {
        self.directives
            .escape
            .as_ref()
            .map_or('\\', |escape| escape.value)
    }
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// From the first letter of the keyword to the last byte of the last line, heredoc bodies
    /// included.
    pub span: Span,
    /// The keyword as written: `FROM`, `from`.
    pub keyword: Spanned<String>,
    /// The instruction's text with continuations joined and comments dropped, without heredoc
    /// bodies: what history and progress show.
    pub text: String,
    /// What it says.
    pub command: Command,
    /// The comment lines directly above, without `#`, trimmed; for `# check=` and descriptions.
    pub comments: Vec<Spanned<String>>,
    /// Whether a blank line stands inside a continuation (a check), and where.
    pub empty_continuation: Option<Span>,
}

impl Instruction {
    /// What the comments above say about `name` (a stage, an argument): the rest of the first line
    /// that starts with the name and a blank. For outlines and lists of targets.
    pub fn description(&self, name: &str) -> Option<&str> {
        self.comments.iter().find_map(|comment| {
            let rest = comment.value.strip_prefix(name)?;
            rest.strip_prefix(' ')
        })
    }
}

/// What an instruction says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// `FROM [--platform=P] image [AS name]`
    From(From),
    /// `RUN [flags] command`
    Run(Run),
    /// `COPY [flags] source… destination`
    Copy(Copy),
    /// `ADD [flags] source… destination`
    Add(Copy),
    /// `ENV key=value …`
    Env(Pairs),
    /// `LABEL key=value …`
    Label(Pairs),
    /// `ARG name[=default] …`
    Arg(Vec<Arg>),
    /// `EXPOSE port[/proto] …`
    Expose(Vec<Word>),
    /// `VOLUME path …`
    Volume(Words),
    /// `USER user[:group]`
    User(Word),
    /// `WORKDIR path`
    Workdir(Word),
    /// `CMD …`
    Cmd(ShellOrExec),
    /// `ENTRYPOINT …`
    Entrypoint(ShellOrExec),
    /// `SHELL ["…"]`
    Shell(Vec<Spanned<String>>),
    /// `STOPSIGNAL signal`
    StopSignal(Word),
    /// `HEALTHCHECK …`
    Healthcheck(Healthcheck),
    /// `ONBUILD instruction`
    Onbuild(Onbuild),
    /// `MAINTAINER text`
    Maintainer(Spanned<String>),
    /// Something that is none of these; its diagnostic is in the parser's list.
    Error,
}

/// A word as written: quotes, escapes and `$` still in it (continuations joined). `parser::expand`
/// turns it into text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The raw text.
    pub raw: String,
    /// Where it stands.
    pub span: Span,
}

/// Words in one of two notations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The words. In JSON notation they are the decoded strings.
    pub words: Vec<Word>,
    /// Whether they were written as a JSON array.
    pub json: bool,
}

/// `FROM`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    /// `--platform=`
    pub platform: Option<Word>,
    /// Image, stage or `scratch`.
    pub image: Word,
    /// The name after `AS`, as written.
    pub name: Option<Spanned<String>>,
    /// The word `AS` as written (a check compares its case with FROM's).
    pub as_keyword: Option<Spanned<String>>,
}

/// A command line in one of two forms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShellOrExec {
    /// Text for the shell, continuations joined. Where heredocs belong to the text, their bodies
    /// are in the instruction's `heredocs`.
    Shell(Spanned<String>),
    /// A JSON array: run as it is.
    Exec(Vec<Spanned<String>>),
}

/// A here-document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter without quotes.
    pub name: String,
    /// File descriptor digits before `<<`, if any.
    pub fd: Option<u32>,
    /// Whether `<<-` was written: leading tabs are already removed from `body`.
    pub chomp: bool,
    /// Whether the body may be expanded (no part of the delimiter was quoted).
    pub expand: bool,
    /// The lines up to the terminator, each with its `\n` (CRLF kept as written).
    pub body: String,
    /// The body exactly as written, tabs and terminator line included, for giving it back to a shell.
    pub raw: String,
    /// Where the marker `<<EOF` stands.
    pub marker: Span,
    /// Where the body stands, without the terminator.
    pub span: Span,
}

/// `RUN`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// `--mount=`, in order.
    pub mounts: Vec<Mount>,
    /// `--network=`
    pub network: Option<Spanned<String>>,
    /// `--security=`
    pub security: Option<Spanned<String>>,
    /// `--device=`, in order.
    pub devices: Vec<Spanned<String>>,
    /// The command; empty shell text is legal.
    pub command: ShellOrExec,
    /// The heredocs of a shell-form command, in order of their markers.
    pub heredocs: Vec<Heredoc>,
}

/// `--mount=key=value,…`, split by CSV rules, keys lower-cased, values raw (they may hold `$`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where the whole value stands.
    pub span: Span,
    /// Keys in order; a key without `=` has no value.
    pub fields: Vec<(String, Option<Word>)>,
}

/// `COPY` and `ADD`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// `--from=` (COPY only), raw.
    pub from: Option<Word>,
    /// `--chown=`
    pub chown: Option<Word>,
    /// `--chmod=`
    pub chmod: Option<Word>,
    /// `--link[=bool]`
    pub link: bool,
    /// `--parents[=bool]` (COPY only)
    pub parents: bool,
    /// `--exclude=`, in order.
    pub excludes: Vec<Word>,
    /// `--keep-git-dir[=bool]` (ADD only)
    pub keep_git_dir: Option<bool>,
    /// `--checksum=` (ADD only)
    pub checksum: Option<Word>,
    /// `--unpack[=bool]` (ADD only)
    pub unpack: Option<bool>,
    /// Sources in order; heredocs stand between ordinary ones.
    pub sources: Vec<CopySource>,
    /// The destination; absent only beside an error diagnostic.
    pub destination: Option<Word>,
    /// Whether sources and destination were a JSON array.
    pub json: bool,
}

/// One source of a COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopySource {
    /// A path, pattern, URL or git reference.
    Path(Word),
    /// A file written in the Dockerfile; its name is the delimiter.
    Heredoc(Heredoc),
}

/// Pairs of ENV and LABEL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pairs {
    /// Keys and values, raw.
    pub pairs: Vec<(Word, Word)>,
    /// Whether the old form `KEY rest of line` was used (a check).
    pub legacy: bool,
}

/// One name of an ARG.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The name.
    pub name: Word,
    /// The default after `=`; an empty default is not the same as none.
    pub default: Option<Word>,
}

/// `HEALTHCHECK`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`
    None,
    /// `HEALTHCHECK [flags] CMD …`; durations in nanoseconds.
    Command {
        /// `--interval`
        interval: Option<u64>,
        /// `--timeout`
        timeout: Option<u64>,
        /// `--start-period`
        start_period: Option<u64>,
        /// `--start-interval`
        start_interval: Option<u64>,
        /// `--retries`
        retries: Option<u32>,
        /// What to run.
        command: ShellOrExec,
    },
}

/// `ONBUILD`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onbuild {
    /// The trigger's text as it is stored in the image config (heredoc bodies appended as
    /// BuildKit does).
    pub text: String,
    /// The trigger, parsed in place (its spans index this file).
    pub instruction: Box<Instruction>,
    /// What is wrong with it: nobody has to know before it fires.
    pub problem: Option<Box<TriggerProblem>>,
}

/// What is wrong with an `ONBUILD` trigger, to be told when it fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TriggerProblem {
    /// The code of the diagnostic.
    pub code: &'static str,
    /// The place in this file.
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// The trigger's here-documents, which no tree holds.
    pub heredocs: Vec<Heredoc>,
}
