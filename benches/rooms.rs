//! The pure rooms by themselves: language, plan, tree, layer. What a whole build costs is `bench/run`.
//!
//! `cargo bench --bench rooms [WORD]`

#![expect(
    clippy::expect_used,
    reason = "a benchmark that cannot start has nothing to measure"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{self, Cursor, Read, sink};
use std::sync::Arc;

use builder::cache::{Key, Record};
use builder::clock::Epoch;
use builder::diagnostic::SourceFile;
use builder::digest::ContentDigest;
use builder::failure::Failure;
use builder::image::Compression;
use builder::layer::{Contents, Encoding, write_layer};
use builder::parser::parse;
use builder::planner::op::{CopyOp, SelectionDigest};
use builder::planner::ports::{CacheProbe, ContextProbe, ImageResolver, ResolvedImage};
use builder::planner::{EpochPolicy, NoCache, PlanRequest, RunDefaults, World, graph, plan};
use builder::platform::Platform;
use builder::tree::{Entry, Kind, Tree, TreePath, Unread, View};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// As many files as Debian with a compiler and Python has.
const FILES: usize = 69_000;
const LAYER_BYTES: usize = 64 << 20;

fn language(criterion: &mut Criterion) {
    let stages = (1..500).map(|stage| {
        let below = stage - 1;
        format!("FROM s{below} AS s{stage}\nENV A{stage}=${{A{stage}:-x}}\n")
    });
    let text = String::from("FROM scratch AS s0\n") + &stages.collect::<String>();
    let source = SourceFile::new("Dockerfile", text.as_str());
    let mut group = criterion.benchmark_group("language");
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("parse 500 stages", |bencher| {
        bencher.iter(|| black_box(parse(&source)));
    });
    group.finish();
}

/// A file of 1,000 lines of all kinds, the same as that of `bench/run --only long_plan`.
fn long_file() -> String {
    let lines = (0..100).map(|n| {
        format!(
            "ARG A{n}=v{n}\nENV E{n}=$A{n}-${{PATH:-none}}\nWORKDIR /w/$E{n}\nLABEL l{n}=$E{n}\n\
             COPY f{n} /srv/$E{n}/\nEXPOSE {}\n# {n}\nUSER u{n}\nRUN echo \\\n    {n}\n",
            n + 1
        )
    });
    String::from("FROM scratch\n") + &lines.collect::<String>()
}

/// A world without images, whose files are all alike, and which has built nothing yet.
struct Nothing;

impl ImageResolver for Nothing {
    fn resolve(&self, name: &str, _: &Platform) -> Result<ResolvedImage, Failure> {
        unreachable!("no image is named, but `{name}` was asked for")
    }
}

impl ContextProbe for Nothing {
    fn named(&self, _: &str) -> Option<String> {
        None
    }

    fn selection(&self, _: &CopyOp) -> Result<SelectionDigest, Failure> {
        Ok(SelectionDigest(ContentDigest::of(b"x")))
    }

    fn mounted(&self, _: &str, _: &str) -> Result<SelectionDigest, Failure> {
        Ok(SelectionDigest(ContentDigest::of(b"x")))
    }
}

impl CacheProbe for Nothing {
    fn probe(&self, _: &Key) -> Option<Record> {
        None
    }

    fn similar(&self, _: &Key) -> Vec<Record> {
        Vec::new()
    }
}

fn planning(criterion: &mut Criterion) {
    let source = Arc::new(SourceFile::new("Dockerfile", long_file()));
    let (dockerfile, _) = parse(&source);
    let (build_args, labels) = (BTreeMap::new(), BTreeMap::new());
    let request = PlanRequest {
        dockerfile: &dockerfile,
        target: None,
        build_args: &build_args,
        labels: &labels,
        platforms: &[],
        build_platform: Platform::new("linux", "amd64", None),
        no_cache: NoCache::Never,
        epoch: EpochPolicy::Base,
        run: RunDefaults::default(),
    };
    let world = World {
        images: &Nothing,
        contexts: &Nothing,
    };
    let mut group = criterion.benchmark_group("1000 lines");
    group.bench_function("parse", |bencher| {
        bencher.iter(|| black_box(parse(&source)));
    });
    group.bench_function("make the graph", |bencher| {
        bencher.iter(|| graph(&request, world).expect("the file is right"));
    });
    group.bench_function("make the graph, the keys and the plan", |bencher| {
        bencher.iter(|| {
            let graph = graph(&request, world).expect("the file is right");
            plan(graph, &source, &Nothing, &Nothing).expect("nothing is asked that could fail")
        });
    });
    group.finish();
}

fn entry(index: usize, size: u64) -> Entry<Unread> {
    let path = TreePath::clean(format!("usr/lib/{:02}/{index:06}", index % 100));
    Entry {
        kind: Kind::File {
            size,
            content: Unread,
        },
        mode: 0o644,
        ..Entry::directory(path, 0)
    }
}

/// Contents that compress about as well as a program does.
struct Lines(Vec<u8>);

impl Contents for Lines {
    fn open(&self, _: usize, _: &TreePath) -> io::Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(Cursor::new(&self.0)))
    }
}

fn lines(bytes: usize) -> Lines {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state >> 33
    };
    let mut text = Vec::with_capacity(bytes + 32);
    while text.len() < bytes {
        text.extend_from_slice(
            format!("{:x} mov eax, {}\n", next() % 4096, next() % 64).as_bytes(),
        );
    }
    text.truncate(bytes);
    Lines(text)
}

fn tree(criterion: &mut Criterion) {
    let empty = Lines(Vec::new());
    let mut entries: Vec<_> = (0..FILES).map(|index| entry(index, 0)).collect();
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    let written = write_layer(&entries, &empty, Epoch::default(), None, sink())
        .expect("nothing is read that could fail");
    let encoded = written.tree.encode();
    let base = Arc::new(written.tree);
    let mut group = criterion.benchmark_group("tree");
    group.throughput(Throughput::Elements(FILES as u64));
    group.bench_function("decode an index of 69,000 files", |bencher| {
        bencher.iter(|| black_box(Tree::decode(&encoded)));
    });
    group.bench_function("a view of it with a small layer on top", |bencher| {
        let top = Tree::new(
            vec![Entry::whiteout(TreePath::clean("usr/lib/00"))],
            BTreeMap::new(),
        );
        let layers = [Arc::clone(&base), Arc::new(top)];
        bencher.iter(|| black_box(View::merge(&layers).len()));
    });
    group.finish();
}

fn layer(criterion: &mut Criterion) {
    let contents = lines(1 << 16);
    let count = LAYER_BYTES >> 16;
    let mut entries: Vec<_> = (0..count).map(|index| entry(index, 1 << 16)).collect();
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    let mut group = criterion.benchmark_group("layer");
    group.throughput(Throughput::Bytes(LAYER_BYTES as u64));
    group.sample_size(10);
    for compression in [
        Compression::Uncompressed,
        Compression::Gzip,
        Compression::Zstd,
    ] {
        let encoding = Some(Encoding::usual(compression));
        group.bench_function(format!("write 64 MiB {compression:?}"), |bencher| {
            bencher.iter(|| write_layer(&entries, &contents, Epoch::default(), encoding, sink()));
        });
    }
    group.finish();
}

criterion_group!(rooms, language, planning, tree, layer);
criterion_main!(rooms);
