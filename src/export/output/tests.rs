//! `--output` as a table: what is meant, and what is refused.

use std::path::{Path, PathBuf};

use super::*;
use crate::failure::Explain as _;
use crate::image::Compression;

fn parse(text: &str) -> OutputSpec {
    OutputSpec::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn path(text: &str) -> Destination {
    Destination::Path(PathBuf::from(text))
}

#[test]
fn short_forms_are_a_directory_and_a_tar_on_stdout() {
    assert_eq!(parse("out").kind, OutputKind::Local);
    assert_eq!(parse("out").dest, Some(path("out")));
    assert_eq!(parse("a=b").dest, Some(path("a=b")));
    assert_eq!(parse("-").kind, OutputKind::Tar);
    assert_eq!(parse("-").dest, Some(Destination::Stdout));
    assert_eq!(
        parse("out").rooted_at(Path::new("/w")).dest,
        Some(path("/w/out"))
    );
    assert_eq!(
        parse("/out").rooted_at(Path::new("/w")).dest,
        Some(path("/out"))
    );
}

#[test]
fn every_attribute_is_typed() {
    let spec = parse(
        "type=oci,dest=x.tar,compression=zstd,compression-level=19,oci-mediatypes=false,\
         force-compression=true,\"name=a:1,b:2\",annotation-index[linux/arm64].K.x=V",
    );
    assert_eq!(spec.dest, Some(path("x.tar")));
    assert_eq!(spec.compression, Some(Compression::Zstd));
    assert_eq!(spec.compression_level, Some(19));
    assert_eq!(spec.media_types, MediaTypes::Docker);
    assert!(spec.force_compression);
    assert_eq!(spec.names, ["a:1", "b:2"]);
    let annotation = &spec.annotations[0];
    assert_eq!(annotation.level, AnnotationLevel::Index);
    assert_eq!(annotation.platform, "linux/arm64".parse().ok());
    assert_eq!(
        (annotation.key.as_str(), annotation.value.as_str()),
        ("K.x", "V")
    );
    assert_eq!(
        parse("type=oci,dest=d,tar=false").form,
        LayoutForm::Directory
    );
}

#[test]
fn registry_is_an_image_that_is_pushed() {
    assert_eq!(parse("type=registry").push, PushMode::ByTag);
    assert_eq!(parse("type=image").push, PushMode::No);
    assert_eq!(parse("type=image,push=true").push, PushMode::ByTag);
    for text in [
        "type=image,push-by-digest=true,push=true",
        "push=true,push-by-digest=1,type=image",
    ] {
        assert_eq!(parse(text).push, PushMode::ByDigest, "{text}");
    }
}

#[test]
fn nothing_is_passed_over() {
    for (text, message) in [
        ("type=ocy,dest=x", "output type `ocy` is not known"),
        ("type=local", "output type `local` needs dest=PATH"),
        ("type=local,dest=-", "output type `local` needs dest=PATH"),
        ("type=oci,tar=false", "output type `oci` needs dest=PATH"),
        ("type=oci,dst=x", "output type `oci` has no attribute `dst`"),
        (
            "type=local,dest=x,compression=gzip",
            "output type `local` has no attribute `compression`",
        ),
        (
            "type=oci,tar=maybe",
            "output attribute `tar` cannot be `maybe`: it is true or false",
        ),
        (
            "type=oci,compression=lz4",
            "output attribute `compression` cannot be `lz4`: it is uncompressed, gzip or zstd",
        ),
        (
            "type=oci,compression-level=10",
            "output attribute `compression-level` cannot be `10`: it is 0 to 9 for gzip, 0 to 22 for zstd",
        ),
        (
            "type=local,dest=x,mode=mirror",
            "output attribute `mode` cannot be `mirror`: it is copy or delete",
        ),
        (
            "type=image,prefer-nondist-layers=true",
            "output attribute `prefer-nondist-layers=true` is not supported",
        ),
        (
            "type=image,annotation=x",
            "output attribute `annotation=x` is not supported",
        ),
        (
            "dest=x,push=true",
            "output `dest=x,push=true` has no type: write type=local|tar|oci|docker|image|registry|cacheonly",
        ),
        (
            "type=oci,\"dest=x",
            "output `type=oci,\"dest=x` is not a list of key=value separated by commas",
        ),
        (
            "type=oci,x",
            "output `type=oci,x` is not a list of key=value separated by commas",
        ),
    ] {
        assert_eq!(OutputSpec::parse(text).unwrap_err().to_string(), message);
    }
    let hints = |text| OutputSpec::parse(text).unwrap_err().hints();
    assert_eq!(hints("type=ocy"), ["did you mean `oci`?"]);
    assert_eq!(hints("type=oci,dst=x"), ["did you mean `dest`?"]);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "(type=(oci|local|image),)?[a-e=\",\\[\\].-]{0,40}") {
        let _ = OutputSpec::parse(&text);
    }
}
