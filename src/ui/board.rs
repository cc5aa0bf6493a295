//! What is going on: the state that all readers of the event stream share.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::diagnostic::Diagnostic;
use crate::event::{Event, Outcome, Stream, Vertex};

use super::text::{self, Colors, LineCutter};

/// Lines of output that are kept of each running vertex for the case that it fails.
const TAIL_LINES: usize = 10;

/// One complete line of output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// When, since the vertex started.
    pub(super) at: Duration,
    /// The text, safe to print.
    pub(super) text: String,
}

impl Line {
    /// The line as logs show it: `0.123 text`.
    pub(super) fn stamped(&self) -> String {
        let stamp = super::units::log_seconds(self.at);
        format!("{stamp} {}", self.text)
    }
}

/// A part of a vertex that moves.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) current: u64,
    pub(super) total: Option<u64>,
    pub(super) done: bool,
    /// When it was first heard of and last changed, since the console started.
    pub(super) started: Duration,
    pub(super) changed: Duration,
}

impl Part {
    /// `transferring context: 2.10MB / 10.00MB 0.3s done`, as BuildKit writes it.
    pub(super) fn describe(&self) -> String {
        use super::units::bytes;
        let mut line = self.name.clone();
        match self.total {
            Some(total) if total > 0 => {
                text::append(
                    &mut line,
                    format_args!(" {} / {}", bytes(self.current), bytes(total)),
                );
            }
            _ if self.current > 0 => {
                text::append(&mut line, format_args!(" {}", bytes(self.current)));
            }
            _ => {}
        }
        let time = self.changed.saturating_sub(self.started);
        if time > Duration::from_millis(10) {
            text::append(&mut line, format_args!(" {}", super::units::seconds(time)));
        }
        if self.done {
            line.push_str(" done");
        }
        line
    }
}

/// One vertex.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) started: Duration,
    pub(super) tail: VecDeque<Line>,
    pub(super) parts: Vec<Part>,
    pub(super) outcome: Option<(Outcome, Duration)>,
    stdout: LineCutter,
    stderr: LineCutter,
}

/// All vertexes and findings.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) vertexes: BTreeMap<Vertex, Entry>,
    pub(super) warnings: Vec<Diagnostic>,
    pub(super) notices: Vec<String>,
    colors: Colors,
}

impl Board {
    pub(super) fn new(colors: Colors) -> Self {
        Self {
            vertexes: BTreeMap::new(),
            warnings: Vec::new(),
            notices: Vec::new(),
            colors,
        }
    }

    /// Takes an event that came `now` after the console started; leaves the lines of output that
    /// it completed.
    pub(super) fn take(&mut self, event: &Event, now: Duration) -> Vec<Line> {
        match event {
            Event::Started { vertex, name, .. } => self.start(*vertex, name, now),
            Event::Output {
                vertex,
                stream,
                bytes,
            } => return self.output(*vertex, *stream, bytes, now),
            Event::Progress {
                vertex,
                part,
                current,
                total,
                done,
            } => self.progress(*vertex, part, now, (*current, *total, *done)),
            Event::Finished {
                vertex,
                outcome,
                elapsed,
            } => return self.finish(*vertex, outcome, *elapsed, now),
            Event::Warning(diagnostic) => self.warnings.push(diagnostic.as_ref().clone()),
            Event::Notice(text) => self.notices.push(text::clean_name(text)),
            Event::Note { .. } => {}
        }
        Vec::new()
    }

    fn start(&mut self, vertex: Vertex, name: &str, now: Duration) {
        self.vertexes.insert(
            vertex,
            Entry {
                name: text::clean_name(name),
                started: now,
                tail: VecDeque::new(),
                parts: Vec::new(),
                outcome: None,
                stdout: LineCutter::default(),
                stderr: LineCutter::default(),
            },
        );
    }

    fn output(&mut self, vertex: Vertex, stream: Stream, bytes: &[u8], now: Duration) -> Vec<Line> {
        let colors = self.colors;
        let Some(entry) = self.vertexes.get_mut(&vertex) else {
            return Vec::new();
        };
        let at = now.saturating_sub(entry.started);
        let mut lines = Vec::new();
        let cutter = match stream {
            Stream::Stdout => &mut entry.stdout,
            Stream::Stderr => &mut entry.stderr,
        };
        cutter.push(bytes, |line| {
            let text = text::clean(line, colors);
            lines.push(Line { at, text });
        });
        entry.keep(&lines);
        lines
    }

    fn progress(
        &mut self,
        vertex: Vertex,
        name: &str,
        now: Duration,
        (current, total, done): (u64, Option<u64>, bool),
    ) {
        let Some(entry) = self.vertexes.get_mut(&vertex) else {
            return;
        };
        let name = part_name(name);
        let index = entry.parts.iter().position(|part| part.name == name);
        let started = index.map_or(now, |index| entry.parts[index].started);
        let part = Part {
            name,
            current,
            total,
            done,
            started,
            changed: now,
        };
        match index {
            Some(index) => entry.parts[index] = part,
            None => entry.parts.push(part),
        }
    }

    fn finish(
        &mut self,
        vertex: Vertex,
        outcome: &Outcome,
        elapsed: Duration,
        now: Duration,
    ) -> Vec<Line> {
        let colors = self.colors;
        let Some(entry) = self.vertexes.get_mut(&vertex) else {
            return Vec::new();
        };
        let at = now.saturating_sub(entry.started);
        let mut lines = Vec::new();
        for cutter in [&mut entry.stdout, &mut entry.stderr] {
            cutter.finish(|line| {
                let text = text::clean(line, colors);
                lines.push(Line { at, text });
            });
        }
        entry.keep(&lines);
        if !matches!(outcome, Outcome::Failed(_)) {
            entry.tail = VecDeque::new();
        }
        entry.outcome = Some((outcome.clone(), elapsed));
        lines
    }

    /// The last part of this name of this vertex.
    pub(super) fn part(&self, vertex: Vertex, name: &str) -> Option<&Part> {
        let name = part_name(name);
        let parts = &self.vertexes.get(&vertex)?.parts;
        parts.iter().find(|part| part.name == name)
    }

    /// Vertexes that failed by themselves.
    pub(super) fn failed(&self) -> impl Iterator<Item = &Entry> {
        let failed = |entry: &&Entry| matches!(entry.outcome, Some((Outcome::Failed(_), _)));
        self.vertexes.values().filter(failed)
    }
}

impl Entry {
    fn keep(&mut self, lines: &[Line]) {
        let skipped = lines.len().saturating_sub(TAIL_LINES);
        self.tail.extend(lines[skipped..].iter().cloned());
        while self.tail.len() > TAIL_LINES {
            self.tail.pop_front();
        }
    }
}

/// BuildKit's name of a part: transfers end with a colon.
fn part_name(name: &str) -> String {
    let mut name = text::clean_name(name);
    if name.starts_with("transferring ") && !name.ends_with(':') {
        name.push(':');
    }
    name
}
