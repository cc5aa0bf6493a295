//! Progress for programs: BuildKit's solve status, one JSON object a line
//! (`client.SolveStatus`, printed by `--progress=rawjson`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::diagnostic::{Diagnostic, Severity};
use crate::digest::Digest;
use crate::event::{Event, Outcome, Stream, Vertex};

use super::board::Board;

/// The raw JSON reader.
#[derive(Debug)]
pub(super) struct RawJson {
    /// The wall clock when the console started, since 1970.
    epoch: Duration,
    names: BTreeMap<Vertex, Known>,
    used: BTreeSet<Digest>,
}

/// What is repeated whenever a vertex is mentioned.
#[derive(Debug)]
struct Known {
    digest: Digest,
    name: String,
    inputs: Vec<Digest>,
    started: String,
}

#[derive(Serialize, Default)]
struct Status<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    vertexes: Vec<VertexJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    statuses: Vec<PartJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logs: Vec<LogJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<WarningJson<'a>>,
}

#[derive(Serialize)]
struct VertexJson<'a> {
    digest: Digest,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    inputs: &'a [Digest],
    name: &'a str,
    started: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cached: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

#[derive(Serialize)]
struct PartJson<'a> {
    id: &'a str,
    vertex: Digest,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    current: u64,
    timestamp: String,
    started: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed: Option<String>,
}

#[derive(Serialize)]
struct LogJson {
    vertex: Digest,
    stream: u8,
    data: String,
    timestamp: String,
}

#[derive(Serialize)]
struct WarningJson<'a> {
    level: u8,
    short: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    detail: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(rename = "sourceInfo")]
    source_info: SourceJson<'a>,
    range: [RangeJson; 1],
}

#[derive(Serialize)]
struct SourceJson<'a> {
    filename: &'a str,
    data: String,
    language: &'static str,
}

#[derive(Serialize)]
struct RangeJson {
    start: PositionJson,
    end: PositionJson,
}

#[derive(Serialize)]
struct PositionJson {
    line: usize,
    #[serde(skip_serializing_if = "is_zero")]
    character: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

impl RawJson {
    /// A reader whose console started at `epoch` since 1970.
    pub(super) fn new(epoch: Duration) -> Self {
        Self {
            epoch,
            names: BTreeMap::new(),
            used: BTreeSet::new(),
        }
    }

    /// Reads one event that the board has taken already.
    pub(super) fn read(
        &mut self,
        board: &Board,
        event: &Event,
        now: Duration,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let time = self.timestamp(now);
        if let Event::Started {
            vertex,
            name,
            id,
            inputs,
        } = event
        {
            self.learn(*vertex, name, *id, (inputs, time.clone()));
        }
        let mut status = Status::default();
        match event {
            Event::Started { vertex, .. } => {
                status
                    .vertexes
                    .extend(self.vertex(*vertex, None, &Outcome::Done));
            }
            Event::Finished {
                vertex, outcome, ..
            } => status
                .vertexes
                .extend(self.vertex(*vertex, Some(&time), outcome)),
            Event::Output {
                vertex,
                stream,
                bytes,
            } => status.logs.extend(self.log(*vertex, *stream, bytes, time)),
            Event::Progress { vertex, part, .. } => {
                status.statuses.extend(self.part(board, *vertex, part));
            }
            Event::Note { vertex, text } => {
                status.statuses.extend(self.note(*vertex, text, time));
            }
            Event::Warning(diagnostic) => status.warnings.push(warning(diagnostic)),
            Event::Notice(text) => {
                let digest = Digest::of(text.as_bytes());
                status.vertexes.push(notice(digest, text, &time));
                return write(&status, out);
            }
        }
        write(&status, out)
    }

    fn learn(
        &mut self,
        vertex: Vertex,
        name: &str,
        id: Digest,
        (inputs, started): (&[Vertex], String),
    ) {
        let digest = if self.used.insert(id) {
            id
        } else {
            // Two vertexes may have one name; a reader of the stream must tell them apart.
            Digest::of(format!("{id} {vertex}").as_bytes())
        };
        let inputs = inputs
            .iter()
            .filter_map(|input| self.digest(*input))
            .collect();
        let name = name.to_owned();
        self.names.insert(
            vertex,
            Known {
                digest,
                name,
                inputs,
                started,
            },
        );
    }

    fn digest(&self, vertex: Vertex) -> Option<Digest> {
        self.names.get(&vertex).map(|known| known.digest)
    }

    fn vertex<'a>(
        &'a self,
        vertex: Vertex,
        completed: Option<&'a str>,
        outcome: &'a Outcome,
    ) -> Option<VertexJson<'a>> {
        let known = self.names.get(&vertex)?;
        Some(VertexJson {
            digest: known.digest,
            inputs: &known.inputs,
            name: &known.name,
            started: &known.started,
            completed,
            cached: *outcome == Outcome::Cached,
            error: match outcome {
                Outcome::Failed(error) => error,
                Outcome::Cancelled => "context canceled",
                Outcome::Done | Outcome::Cached => "",
            },
        })
    }

    fn log(
        &self,
        vertex: Vertex,
        stream: Stream,
        bytes: &[u8],
        timestamp: String,
    ) -> Option<LogJson> {
        Some(LogJson {
            vertex: self.digest(vertex)?,
            stream: match stream {
                Stream::Stdout => 1,
                Stream::Stderr => 2,
            },
            data: STANDARD.encode(bytes),
            timestamp,
        })
    }

    fn part<'a>(&self, board: &'a Board, vertex: Vertex, name: &str) -> Option<PartJson<'a>> {
        let part = board.part(vertex, name)?;
        let timestamp = self.timestamp(part.changed);
        Some(PartJson {
            id: &part.name,
            vertex: self.digest(vertex)?,
            total: part.total,
            current: part.current,
            started: self.timestamp(part.started),
            completed: part.done.then(|| timestamp.clone()),
            timestamp,
        })
    }

    fn note<'a>(&self, vertex: Vertex, text: &'a str, time: String) -> Option<PartJson<'a>> {
        Some(PartJson {
            id: text,
            vertex: self.digest(vertex)?,
            total: None,
            current: 0,
            timestamp: time.clone(),
            started: time.clone(),
            completed: Some(time),
        })
    }

    /// RFC 3339 with nanoseconds, in UTC.
    fn timestamp(&self, now: Duration) -> String {
        let time = self.epoch + now;
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        let text = crate::clock::Epoch(seconds).rfc3339();
        format!("{}.{:09}Z", text.trim_end_matches('Z'), time.subsec_nanos())
    }
}

fn notice<'a>(digest: Digest, text: &'a str, time: &'a str) -> VertexJson<'a> {
    VertexJson {
        digest,
        inputs: &[],
        name: text,
        started: time,
        completed: Some(time),
        cached: false,
        error: "",
    }
}

fn warning(diagnostic: &Diagnostic) -> WarningJson<'_> {
    let source = &diagnostic.source;
    let position = |offset| {
        let (line, column) = source.line_column(offset);
        PositionJson {
            line,
            character: column - 1,
        }
    };
    let short = super::render::check_line(diagnostic);
    WarningJson {
        level: match diagnostic.severity {
            Severity::Warning => 1,
            Severity::Error => 2,
        },
        short: STANDARD.encode(short),
        detail: diagnostic
            .help
            .iter()
            .map(|help| STANDARD.encode(help))
            .collect(),
        url: diagnostic.url.as_deref(),
        source_info: SourceJson {
            filename: &source.name,
            data: STANDARD.encode(&source.text),
            language: "Dockerfile",
        },
        range: [RangeJson {
            start: position(diagnostic.span.start),
            end: position(diagnostic.span.end),
        }],
    }
}

fn write(status: &Status<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut line = serde_json::to_vec(status)?;
    line.push(b'\n');
    out.write_all(&line)
}
