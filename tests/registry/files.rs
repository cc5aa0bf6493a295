//! Exports to files, read by tools that are not ours.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use builder::clock::Epoch;
use builder::digest::{DiffId, Digest};
use builder::export::{
    ExportError, Mismatch, RootfsSource, Style, load, verify, write_docker_archive, write_file,
    write_layout, write_oci_archive, write_rootfs_directory, write_rootfs_tar,
};
use builder::reference::Reference;

use crate::kit::{Blobs, judge, layer, set, set_for, two_platforms};

fn names() -> Vec<Reference> {
    ["example.com/team/app:1", "app:latest"]
        .map(|name| name.parse().unwrap())
        .to_vec()
}

fn sample(style: &Style) -> (Blobs, builder::export::ExportSet) {
    let mut blobs = Blobs::default();
    let layers = vec![
        layer(&mut blobs, "a", &[1; 10_000]),
        layer(&mut blobs, "b", b"b"),
    ];
    let set = set_for(layers, style);
    (blobs, set)
}

/// Copies an image with skopeo into a directory and returns the manifest's digest there.
fn copied(from: &str, directory: &Path) -> Digest {
    let _ = fs::remove_dir_all(directory);
    judge(
        "skopeo",
        &[
            "copy",
            "-q",
            "--preserve-digests",
            from,
            &format!("dir:{}", directory.display()),
        ],
    );
    Digest::of(&fs::read(directory.join("manifest.json")).unwrap())
}

#[test]
fn skopeo_reads_every_form_to_the_same_digest() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    {
        let (blobs, set) = sample(&Style::default());
        let expected = set.root().descriptor.digest;
        assert_eq!(verify(&set, &blobs, true), []);
        write_file(&at("oci.tar"), |out| {
            write_oci_archive(&set, &names(), &blobs, Epoch(0), out)
        })
        .unwrap();
        let tar = at("oci.tar").display().to_string();
        assert_eq!(
            copied(&format!("oci-archive:{tar}:1"), &at("copy")),
            expected
        );
        let layout = at("layout");
        write_layout(&set, &names(), &blobs, &layout).unwrap();
        let layout = layout.display().to_string();
        assert_eq!(
            copied(&format!("oci:{layout}:latest"), &at("copy")),
            expected
        );
    }
}

#[test]
fn a_docker_archive_has_the_names_and_the_layers() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("docker.tar");
    let (blobs, set) = sample(&Style::default());
    write_file(&path, |out| {
        write_docker_archive(&set, &names(), &blobs, Epoch(0), out)
    })
    .unwrap();
    let listed = judge("tar", &["-tvf", &path.display().to_string()]);
    let order: Vec<&str> = listed
        .lines()
        .map(|line| line.rsplit(' ').next().unwrap())
        .collect();
    assert!(order.is_sorted(), "{listed}");
    for tag in ["example.com/team/app:1", "app:latest"] {
        let address = format!("docker-archive:{}:{tag}", path.display());
        let config = judge("skopeo", &["inspect", "--config", &address]);
        for layer in &set.images[0].layers {
            assert!(config.contains(&layer.diff_id.to_string()), "{config}");
        }
    }
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o600, 0o600);
}

#[test]
fn archives_are_the_same_bytes_each_time() {
    let write = |epoch| {
        let (blobs, set) = sample(&Style::default());
        let mut oci = Vec::new();
        write_oci_archive(&set, &names(), &blobs, Epoch(epoch), &mut oci).unwrap();
        let mut docker = Vec::new();
        write_docker_archive(&set, &names(), &blobs, Epoch(epoch), &mut docker).unwrap();
        (oci, docker)
    };
    assert_eq!(write(5), write(5));
    assert_ne!(write(5).0, write(6).0);
}

#[test]
fn a_docker_archive_takes_one_platform() {
    let mut blobs = Blobs::default();
    let set = two_platforms(&mut blobs);
    let result = write_docker_archive(&set, &names(), &blobs, Epoch(0), &mut io::sink());
    assert!(matches!(result, Err(ExportError::ManyPlatforms)));
}

#[test]
fn an_index_goes_into_a_layout_whole() {
    let home = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let set = two_platforms(&mut blobs);
    assert_eq!(verify(&set, &blobs, true), []);
    write_layout(&set, &names()[..1], &blobs, home.path()).unwrap();
    let address = format!("oci:{}:1", home.path().display());
    for architecture in ["amd64", "s390x"] {
        let config = judge(
            "skopeo",
            &[
                &format!("--override-arch={architecture}"),
                "inspect",
                "--config",
                &address,
            ],
        );
        assert!(config.contains(architecture), "{config}");
    }
}

#[test]
fn a_layout_keeps_images_of_other_names() {
    let home = tempfile::tempdir().unwrap();
    let (blobs, first) = sample(&Style::default());
    write_layout(&first, &names()[..1], &blobs, home.path()).unwrap();
    let mut other = Blobs::default();
    let second = set(vec![layer(&mut other, "c", b"c")]);
    write_layout(&second, &names()[1..], &other, home.path()).unwrap();
    write_layout(&second, &names()[1..], &other, home.path()).unwrap();
    let index = fs::read_to_string(home.path().join("index.json")).unwrap();
    assert_eq!(index.matches("\"digest\"").count(), 2, "{index}");
    assert!(index.contains(&first.root().descriptor.digest.to_string()));
}

#[test]
fn a_directory_of_something_else_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("thesis.txt"), "years of work").unwrap();
    let (blobs, set) = sample(&Style::default());
    let error = write_layout(&set, &[], &blobs, home.path()).unwrap_err();
    assert!(matches!(error, ExportError::NotALayout { .. }));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn a_damaged_layer_never_gets_out() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("out.tar");
    let (mut blobs, set) = sample(&Style::default());
    let digest = set.images[0].layers[0].descriptor.digest;
    blobs.bytes.get_mut(&digest).unwrap()[20] ^= 1;
    let error = write_file(&path, |out| {
        write_oci_archive(&set, &[], &blobs, Epoch(0), out)
    })
    .unwrap_err();
    assert!(
        matches!(error, ExportError::Blob { digest: found, .. } if found == digest),
        "{error}"
    );
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    let found = verify(&set, &blobs, true);
    assert!(
        matches!(found.as_slice(), [Mismatch::Layer { .. }]),
        "{found:?}"
    );
}

#[test]
fn verify_lists_everything_that_is_wrong() {
    let (blobs, mut set) = sample(&Style::default());
    let image = &mut set.images[0];
    image.layers[1].diff_id = DiffId(Digest::of(b"other"));
    image.config.bytes[0] = b' ';
    image.platform.architecture = "riscv64".to_owned();
    let found = verify(&set, &blobs, true);
    let count =
        |wanted: fn(&Mismatch) -> bool| found.iter().filter(|mismatch| wanted(mismatch)).count();
    assert_eq!(
        count(|mismatch| matches!(mismatch, Mismatch::Bytes { what: "config", .. })),
        1
    );
    assert_eq!(
        count(|mismatch| matches!(mismatch, Mismatch::Unreadable { what: "config", .. })),
        1
    );
    assert_eq!(
        count(|mismatch| matches!(mismatch, Mismatch::DiffId { .. })),
        1
    );
}

/// A root file system of one file.
struct OneFile;

impl RootfsSource for OneFile {
    fn tar(&self, image: usize, prefix: &str, out: &mut dyn Write) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_path(format!("{prefix}file-{image}"))?;
        header.set_size(0);
        header.set_cksum();
        out.write_all(header.as_bytes())
    }

    fn extract(&self, image: usize, directory: &Path) -> io::Result<()> {
        fs::write(directory.join(format!("file-{image}")), "")
    }
}

#[test]
fn files_of_several_platforms_have_a_directory_each() {
    let home = tempfile::tempdir().unwrap();
    let mut blobs = Blobs::default();
    let set = two_platforms(&mut blobs);
    let path = home.path().join("out.tar");
    write_file(&path, |out| write_rootfs_tar(&set, true, &OneFile, out)).unwrap();
    let listed = judge("tar", &["-tf", &path.display().to_string()]);
    assert_eq!(listed, "linux_amd64/file-0\nlinux_s390x/file-1\n");
    write_rootfs_directory(&set, true, &OneFile, &home.path().join("dir")).unwrap();
    assert!(home.path().join("dir/linux_s390x/file-1").is_file());
    write_rootfs_directory(&set, false, &OneFile, &home.path().join("flat")).unwrap();
    assert!(home.path().join("flat/file-0").is_file());
}

#[test]
fn load_pipes_an_archive_into_the_engine_that_runs() {
    let home = tempfile::tempdir().unwrap();
    let engine = |name: &str, script: &str| {
        let path = home.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    };
    let loaded = home.path().join("loaded.tar");
    let dead = engine("dead", "exit 1");
    let good = engine(
        "good",
        &format!(
            "[ $1 = version ] && exit 0\ncat > {}\necho Loaded image: x",
            loaded.display()
        ),
    );
    let bad = engine(
        "bad",
        "[ $1 = version ] && exit 0\necho no space >&2\nexit 1",
    );
    let (blobs, set) = sample(&Style::default());
    let load = |engines: &[&str]| load(&set, &names(), &blobs, Epoch(0), engines);
    let result = load(&["/does/not/exist", &dead, &good]).unwrap();
    assert_eq!(
        (result.engine, result.message.as_str()),
        (good, "Loaded image: x")
    );
    let mut expected = Vec::new();
    write_docker_archive(&set, &names(), &blobs, Epoch(0), &mut expected).unwrap();
    assert_eq!(fs::read(&loaded).unwrap(), expected);
    assert!(matches!(load(&[&dead]), Err(ExportError::NoEngine)));
    let error = load(&[&bad]).unwrap_err();
    assert!(
        matches!(&error, ExportError::Load { message, .. } if message == "no space"),
        "{error}"
    );
}
