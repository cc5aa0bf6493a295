//! `RUN --mount`: defaults, mistakes, and what a mount makes a step read.

use super::*;

fn mount(flag: &str) -> Result<String, String> {
    let file = format!(
        "FROM debian AS src\nRUN x\nFROM debian\nENV V=v\nWORKDIR /w\nRUN --mount={flag} run\n"
    );
    let graph = project(&file)
        .try_graph()
        .map_err(|failure| told(&failure))?;
    let Op::Run(run) = &step(&graph, " run").op else {
        panic!("not a RUN");
    };
    Ok(format!("{:?}", run.mounts[0]))
}

#[test]
fn mounts_are_read_with_their_defaults() {
    let all = [
        "target=/x",
        "type=bind,source=a/../b,target=rel,rw",
        "type=bind,from=src,src=/s,dst=/$V,ro=false",
        "type=cache,target=/root/.cache/",
        "type=cache,id=go,sharing=LOCKED,destination=/c,mode=0700,uid=1,gid=2,readonly",
        "type=cache,target=/c,from=src,source=/seed",
        "type=tmpfs,target=/t,size=64m",
        "type=secret,id=token",
        "type=secret,id=token,env=TOKEN,required",
        "type=secret,target=/run/t,mode=0444",
        "id=x,required=true,type=secret,env=A,target=/f",
        "type=ssh",
        "type=ssh,id=k,target=/s,mode=0666,required=true",
    ];
    let told: Vec<String> = all
        .iter()
        .map(|flag| format!("{flag}\n    {}", mount(flag).unwrap()))
        .collect();
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn mistakes_in_mounts_are_told_as_buildkit_tells_them() {
    for (flag, expected) in [
        (
            "type=bnd,target=/x",
            "unsupported mount type \"bnd\" (did you mean `bind`?)",
        ),
        (
            "type=cache,target=/x,sharing=lockd",
            "unsupported sharing value \"lockd\" (did you mean `locked`?)",
        ),
        (
            "type=bind,target=/x,mode=0700",
            "mode not allowed for \"bind\" type mounts",
        ),
        ("type=cache,target=/x,mode=9", "invalid value 9 for mode"),
        ("type=cache,target=/x,uid=x", "invalid value x for uid"),
        (
            "type=cache,target=/x,size=1m",
            "unexpected key 'size' for mount type 'cache'",
        ),
        (
            "type=tmpfs,target=/x,size=big",
            "invalid value for size: big",
        ),
        (
            "type=bind,target=/x,required",
            "unexpected key 'required' for mount type 'bind'",
        ),
        (
            "type=bind,target=/x,ro=maybe",
            "invalid value for ro: maybe",
        ),
        (
            "type=secret",
            "invalid secret mount. one of source, target required",
        ),
        (
            "type=secret,id=a,source=b",
            "both source and id can't be set",
        ),
        (
            "type=secret,id=a,from=src",
            "secret mount should not have a from",
        ),
        (
            "type=secret,id=a,sharing=shared",
            "secret mount should not define sharing",
        ),
        (
            "type=tmpfs,target=/x,sharing=shared",
            "invalid cache sharing set for tmpfs mount",
        ),
        ("type=cache,target=/", "invalid mount target \"/\""),
    ] {
        let error = mount(flag).unwrap_err();
        assert_eq!(error, format!("Dockerfile:6: {expected}"), "{flag}");
    }
}

#[test]
fn a_namespace_keeps_caches_apart() {
    let graph = project("FROM debian\nRUN --mount=type=cache,target=/c run\n")
        .arg("BUILDKIT_CACHE_MOUNT_NS", "ci")
        .graph();
    assert!(format!("{:?}", step(&graph, " run").op).contains("id: \"ci//c\""));
}

#[test]
fn a_run_reads_the_stages_that_it_mounts() {
    let graph = project(
        "
        FROM debian AS src
        RUN src
        FROM scratch
        RUN --mount=from=src,target=/a --mount=type=cache,target=/b,from=SRC --mount=from=scratch,target=/c run
        ",
    )
    .graph();
    let run = step(&graph, " run");
    let names: Vec<&str> = run
        .reads
        .iter()
        .map(|id| text_of(graph.step(*id)))
        .collect();
    assert_eq!(set(names), set(["FROM scratch", "RUN src"]));
}
