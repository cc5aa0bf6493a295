//! What the library tells while it works. It never prints: `ui` reads these events.
//!
//! One build is a stream of [`Event`]s about numbered [`Vertex`]es, in BuildKit's sense: a vertex
//! is a line `#N [stage i/n] TEXT` of the log. Every vertex that starts also ends.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;

/// The number of a vertex in the log: the `N` of `#N`. Numbers start at 1 and are handed out in
/// order of first mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vertex(pub u32);

/// A stream of a RUN command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a vertex ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It did its work.
    Done,
    /// Its result was in the cache.
    Cached,
    /// It failed; the text is the error without hints.
    Failed(String),
    /// Another vertex failed or the user stopped the build.
    Cancelled,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A vertex is known and starts now. `name` is the text after `#N `.
    Started {
        /// Its number.
        vertex: Vertex,
        /// `[build 2/3] RUN make`, `[internal] load build context`, `exporting to image`.
        name: String,
        /// The digest that names the vertex in raw JSON progress: its definition key, or a digest of
        /// its name.
        id: Digest,
        /// The vertexes whose results it uses.
        inputs: Vec<Vertex>,
    },
    /// Bytes that a RUN wrote; cut anywhere, not necessarily at line ends.
    Output {
        /// Whose output.
        vertex: Vertex,
        /// Which stream.
        stream: Stream,
        /// The bytes as they came.
        bytes: Arc<[u8]>,
    },
    /// A part of a vertex moves: `transferring context`, `sha256:… 3.2MB / 10MB`.
    Progress {
        /// Whose part.
        vertex: Vertex,
        /// The name of the part, the same text for each report about it.
        part: String,
        /// Bytes (or items) done so far.
        current: u64,
        /// All of them, if known.
        total: Option<u64>,
        /// Whether this part is complete.
        done: bool,
    },
    /// A line of information about a vertex: `resolve docker.io/library/alpine:3 0.2s done`.
    Note {
        /// About which vertex.
        vertex: Vertex,
        /// The line, without `#N `.
        text: String,
    },
    /// A vertex ended.
    Finished {
        /// Which.
        vertex: Vertex,
        /// How.
        outcome: Outcome,
        /// How long it took.
        elapsed: Duration,
    },
    /// A finding about the Dockerfile, once per build.
    Warning(Box<Diagnostic>),
    /// Something about the build as a whole: the isolation that was chosen, a cache that could not
    /// be reached.
    Notice(String),
}

/// Where events go. Implementations must not block for long and never fail.
pub trait EventSink: Send + Sync {
    /// Takes one event; called from many threads.
    fn event(&self, event: Event);
}

/// A sink that drops everything.
#[derive(Debug, Default)]
pub struct Silent;

impl EventSink for Silent {
    fn event(&self, _event: Event) {}
}

impl fmt::Display for Vertex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "#{}", self.0)
    }
}

/// Hands out vertex numbers and pairs every start with an end.
#[derive(Clone)]
pub struct Reporter {
    sink: Arc<dyn EventSink>,
    next: Arc<std::sync::atomic::AtomicU32>,
}

impl fmt::Debug for Reporter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reporter").finish_non_exhaustive()
    }
}

impl Reporter {
    /// A reporter that numbers from 1 and writes to `sink`.
    pub fn new(sink: Arc<dyn EventSink>) -> Self {
        Self {
            sink,
            next: Arc::new(std::sync::atomic::AtomicU32::new(1)),
        }
    }

    /// Sends an event as it is.
    pub fn send(&self, event: Event) {
        self.sink.event(event);
    }

    /// Says something about the build as a whole.
    pub fn notice(&self, text: impl Into<String>) {
        self.send(Event::Notice(text.into()));
    }

    /// Starts a vertex named by its text alone.
    pub fn start(&self, name: impl Into<String>) -> Activity {
        let name = name.into();
        let id = Digest::of(name.as_bytes());
        self.start_with(name, id, Vec::new())
    }

    /// Starts a vertex with an id and inputs.
    pub fn start_with(&self, name: String, id: Digest, inputs: Vec<Vertex>) -> Activity {
        let vertex = Vertex(self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        self.send(Event::Started {
            vertex,
            name,
            id,
            inputs,
        });
        Activity {
            reporter: self.clone(),
            vertex,
            clock: crate::clock::Stopwatch::start(),
            ended: false,
        }
    }
}

/// A started vertex. Dropping it without [`Activity::finish`] reports it as cancelled.
#[derive(Debug)]
pub struct Activity {
    reporter: Reporter,
    vertex: Vertex,
    clock: crate::clock::Stopwatch,
    ended: bool,
}

impl Activity {
    /// Its number.
    pub fn vertex(&self) -> Vertex {
        self.vertex
    }

    /// The reporter it came from.
    pub fn reporter(&self) -> &Reporter {
        &self.reporter
    }

    /// Reports a line.
    pub fn note(&self, text: impl Into<String>) {
        self.reporter.send(Event::Note {
            vertex: self.vertex,
            text: text.into(),
        });
    }

    /// Reports the progress of a part.
    pub fn progress(&self, part: &str, current: u64, total: Option<u64>, done: bool) {
        let (vertex, part) = (self.vertex, part.to_owned());
        self.reporter.send(Event::Progress {
            vertex,
            part,
            current,
            total,
            done,
        });
    }

    /// Reports bytes of output.
    pub fn output(&self, stream: Stream, bytes: &[u8]) {
        self.reporter.send(Event::Output {
            vertex: self.vertex,
            stream,
            bytes: bytes.into(),
        });
    }

    /// Ends the vertex.
    pub fn finish(mut self, outcome: Outcome) {
        self.end(outcome);
    }

    fn end(&mut self, outcome: Outcome) {
        if !self.ended {
            self.ended = true;
            let (vertex, elapsed) = (self.vertex, self.clock.elapsed());
            self.reporter.send(Event::Finished {
                vertex,
                outcome,
                elapsed,
            });
        }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.end(Outcome::Cancelled);
    }
}
