//! Against Debian's registry: what a build does every day.

use std::io::Read as _;

use builder::digest::{Digest, VerifyError};
use builder::export::{ExportError, MediaTypes, PushOptions, PushSummary, Style, push};
use builder::failure::Explain as _;
use builder::registry::{Credential, Known, Nothing, RegistryError, RegistryOptions, StoredIn};

use crate::kit::{
    Blobs, Debian, DebianOptions, Server, client, forward, judge, layer, options, plain_client,
    set, set_for, two_platforms,
};

fn summary(uploaded: usize, mounted: usize, existed: usize, unchanged: usize) -> PushSummary {
    PushSummary {
        uploaded,
        mounted,
        existed,
        unchanged,
    }
}

#[test]
fn what_is_pushed_is_what_is_pulled() {
    let registry = Debian::start();
    let mut blobs = Blobs::default();
    let layers = vec![
        layer(&mut blobs, "a", &[7; 300_000]),
        layer(&mut blobs, "b", b"b"),
    ];
    let set = set(layers.clone());
    let name = registry.name("team/app:1");
    let client = plain_client();
    let pushed = push(
        &client,
        &set,
        &[name.clone()],
        &blobs,
        PushOptions::default(),
    )
    .unwrap();
    assert_eq!(pushed, summary(3, 0, 0, 0));

    let root = &set.root().descriptor;
    assert_eq!(client.resolve(&name).unwrap(), *root);
    let platform = "linux/amd64".parse().unwrap();
    let image = client.resolve_platform(&name, &platform, &Nothing).unwrap();
    assert_eq!(image.pinned, name.at(root.digest));
    assert_eq!(image.config_bytes, set.images[0].config.bytes);
    for layer in &layers {
        let mut bytes = Vec::new();
        client
            .blob(&name, &layer.descriptor)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap();
        assert_eq!(bytes, blobs.bytes[&layer.descriptor.digest]);
        assert!(client.has_blob(&name, &layer.descriptor.digest).unwrap());
    }
    assert!(!client.has_blob(&name, &Digest::of(b"nothing")).unwrap());

    let address = format!("docker://{name}");
    let seen = judge("skopeo", &["inspect", "--tls-verify=false", &address]);
    assert!(seen.contains(&root.digest.to_string()), "{seen}");
}

#[test]
fn a_second_push_asks_one_question() {
    let registry = Debian::start();
    let port = registry.port();
    let proxy = Server::start(move |request| forward(port, request));
    let mut blobs = Blobs::default();
    let set = set(vec![layer(&mut blobs, "a", b"a")]);
    let name = format!("{}/app:1", proxy.host()).parse().unwrap();
    let names = [name];
    push(
        &plain_client(),
        &set,
        &names,
        &blobs,
        PushOptions::default(),
    )
    .unwrap();
    let (before, opened) = (proxy.lines().len(), blobs.opened());
    let pushed = push(
        &plain_client(),
        &set,
        &names,
        &blobs,
        PushOptions::default(),
    )
    .unwrap();
    assert_eq!(pushed, summary(0, 0, 0, 1));
    assert_eq!(proxy.lines()[before..], ["HEAD /v2/app/manifests/1"]);
    assert_eq!(blobs.opened(), opened);
}

#[test]
fn a_new_tag_sends_no_bytes() {
    let registry = Debian::start();
    let mut blobs = Blobs::default();
    let set = set(vec![layer(&mut blobs, "a", b"a")]);
    let client = plain_client();
    let names = [registry.name("app:1"), registry.name("app:2")];
    push(&client, &set, &names[..1], &blobs, PushOptions::default()).unwrap();
    let pushed = push(&client, &set, &names, &blobs, PushOptions::default()).unwrap();
    assert_eq!(pushed, summary(0, 0, 2, 1));
    assert_eq!(client.resolve(&names[1]).unwrap(), set.root().descriptor);
}

#[test]
fn layers_of_a_base_are_mounted_without_being_read() {
    let registry = Debian::start();
    let mut blobs = Blobs::default();
    let base = vec![layer(&mut blobs, "base", &[1; 100_000])];
    let client = plain_client();
    let from = registry.name("base:1");
    push(
        &client,
        &set(base.clone()),
        &[from.clone()],
        &blobs,
        PushOptions::default(),
    )
    .unwrap();

    let mut own = Blobs::default();
    let mut layers = base.clone();
    layers.push(layer(&mut own, "own", b"own"));
    own.mounts.insert(base[0].descriptor.digest, from);
    let name = registry.name("app:1");
    let pushed = push(
        &client,
        &set(layers),
        &[name.clone()],
        &own,
        PushOptions::default(),
    )
    .unwrap();
    assert_eq!(pushed, summary(2, 1, 0, 0));
    assert_eq!(own.opened(), 1);
    let mut bytes = Vec::new();
    client
        .blob(&name, &base[0].descriptor)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
}

#[test]
fn a_refused_mount_becomes_an_upload() {
    let registry = Debian::start();
    let mut blobs = Blobs::default();
    let layers = vec![layer(&mut blobs, "a", b"a")];
    blobs
        .mounts
        .insert(layers[0].descriptor.digest, registry.name("nowhere:1"));
    let name = registry.name("app:1");
    let pushed = push(
        &plain_client(),
        &set(layers),
        &[name],
        &blobs,
        PushOptions::default(),
    )
    .unwrap();
    assert_eq!(pushed, summary(2, 0, 0, 0));
}

#[test]
fn an_index_offers_each_platform() {
    let registry = Debian::start();
    let mut blobs = Blobs::default();
    let set = two_platforms(&mut blobs);
    let name = registry.name("multi:1");
    let client = plain_client();
    let pushed = push(
        &client,
        &set,
        &[name.clone()],
        &blobs,
        PushOptions::default(),
    )
    .unwrap();
    assert_eq!(pushed, summary(5, 0, 0, 0));
    for image in &set.images {
        let found = client
            .resolve_platform(&name, &image.platform, &Nothing)
            .unwrap();
        assert_eq!(found.descriptor.digest, image.manifest.descriptor.digest);
        assert_eq!(found.index.unwrap().0, set.root().descriptor);
        let architecture = &image.platform.architecture;
        let (override_arch, address) = (
            format!("--override-arch={architecture}"),
            format!("docker://{name}"),
        );
        let seen = judge(
            "skopeo",
            &[
                &override_arch,
                "inspect",
                "--config",
                "--tls-verify=false",
                &address,
            ],
        );
        assert!(seen.contains(architecture.as_str()), "{seen}");
    }
    let windows = "windows/amd64".parse().unwrap();
    let error = client
        .resolve_platform(&name, &windows, &Nothing)
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("no match for platform windows/amd64 in manifest: not found")
    );
    assert_eq!(
        error.hints(),
        ["it is offered for linux/amd64, linux/s390x"]
    );
}

#[test]
fn a_push_by_digest_moves_no_tag() {
    let registry = Debian::start();
    let mut blobs = Blobs::default();
    let set = set(vec![layer(&mut blobs, "a", b"a")]);
    let client = plain_client();
    let name = registry.name("app:latest");
    let by_digest = PushOptions {
        by_digest: true,
        activity: None,
    };
    push(&client, &set, &[name.clone()], &blobs, by_digest).unwrap();
    assert!(matches!(
        client.resolve(&name),
        Err(RegistryError::NotFound { .. })
    ));
    let pinned = name.at(set.root().descriptor.digest);
    assert_eq!(client.resolve(&pinned).unwrap(), set.root().descriptor);
}

#[test]
fn dockers_media_types_are_dockers_throughout() {
    let registry = Debian::start();
    let mut blobs = Blobs::default();
    let layers = vec![layer(&mut blobs, "a", b"a")];
    let style = Style {
        media_types: MediaTypes::Docker,
        ..Style::default()
    };
    let set = set_for(layers, &style);
    let name = registry.name("app:1");
    push(
        &plain_client(),
        &set,
        &[name.clone()],
        &blobs,
        PushOptions::default(),
    )
    .unwrap();
    let address = format!("docker://{name}");
    let raw = judge(
        "skopeo",
        &["inspect", "--raw", "--tls-verify=false", &address],
    );
    assert_eq!(raw.as_bytes(), set.root().bytes);
    assert!(!raw.contains("vnd.oci"), "{raw}");
    let seen = judge("skopeo", &["inspect", "--tls-verify=false", &address]);
    assert!(
        seen.contains(&set.root().descriptor.digest.to_string()),
        "{seen}"
    );
}

#[test]
fn a_missing_image_is_said_to_be_missing() {
    let registry = Debian::start();
    let name = registry.name("nowhere:1");
    let error = plain_client()
        .resolve_platform(&name, &"linux/amd64".parse().unwrap(), &Nothing)
        .unwrap_err();
    let text = format!("failed to resolve source metadata for {name}: {name}: not found");
    assert_eq!(error.to_string(), text);
}

/// Remembers one image, as a store would.
struct Store(RegistryStore);
type RegistryStore = builder::registry::ResolvedManifest;

impl Known for Store {
    fn bytes(&self, digest: &Digest) -> Option<Vec<u8>> {
        let image = &self.0;
        let all = [&image.bytes, &image.config_bytes];
        all.into_iter()
            .find(|bytes| Digest::of(bytes) == *digest)
            .cloned()
    }

    fn last(&self, _: &builder::reference::Reference) -> Option<builder::image::Descriptor> {
        Some(self.0.descriptor.clone())
    }
}

#[test]
fn what_is_known_is_not_asked_again() {
    let registry = Debian::start();
    let port = registry.port();
    let proxy = Server::start(move |request| forward(port, request));
    let mut blobs = Blobs::default();
    let set = set(vec![layer(&mut blobs, "a", b"a")]);
    let name: builder::reference::Reference = format!("{}/app:1", proxy.host()).parse().unwrap();
    let client = plain_client();
    push(
        &client,
        &set,
        &[name.clone()],
        &blobs,
        PushOptions::default(),
    )
    .unwrap();
    let platform = "linux/amd64".parse().unwrap();
    let before = proxy.lines().len();
    let image = client.resolve_platform(&name, &platform, &Nothing).unwrap();
    assert_eq!(proxy.lines().len(), before + 2);
    let pinned = image.pinned.clone();
    let store = Store(image);
    client.resolve_platform(&name, &platform, &store).unwrap();
    assert_eq!(proxy.lines()[before + 2..], ["HEAD /v2/app/manifests/1"]);
    client.resolve_platform(&pinned, &platform, &store).unwrap();
    assert_eq!(proxy.lines().len(), before + 3);
}

#[test]
fn login_tries_first_and_keeps_then() {
    let registry = Debian::start_with(DebianOptions {
        password: true,
        ..DebianOptions::default()
    });
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("config.json");
    let options = || RegistryOptions {
        auth_files: vec![file.clone()],
        login_file: Some(file.clone()),
        ..options()
    };
    let host = registry.host();
    let error = client(options())
        .login(&host, Credential::basic("user", "wrong"))
        .unwrap_err();
    assert!(
        matches!(
            error,
            RegistryError::Denied {
                had_credential: true,
                ..
            }
        ),
        "{error}"
    );
    assert!(!file.exists());

    let mut blobs = Blobs::default();
    let set = set(vec![layer(&mut blobs, "a", b"a")]);
    let names = [registry.name("app:1")];
    let error = push(
        &client(options()),
        &set,
        &names,
        &blobs,
        PushOptions::default(),
    )
    .unwrap_err();
    assert_eq!(
        error.hints(),
        [format!(
            "check the name, or log in with `builder login {host}`"
        )]
    );

    let outcome = client(options())
        .login(&host, Credential::basic("user", "secret"))
        .unwrap();
    assert_eq!(outcome.stored_in, StoredIn::File(file.clone()));
    push(
        &client(options()),
        &set,
        &names,
        &blobs,
        PushOptions::default(),
    )
    .unwrap();
    client(options()).resolve(&names[0]).unwrap();

    assert!(client(options()).logout(&host).unwrap());
    assert!(!client(options()).logout(&host).unwrap());
    assert!(client(options()).resolve(&names[0]).is_err());
}

#[test]
fn a_private_authority_must_be_named() {
    let registry = Debian::start_with(DebianOptions {
        tls: true,
        ..DebianOptions::default()
    });
    let mut blobs = Blobs::default();
    let set = set(vec![layer(&mut blobs, "a", b"a")]);
    let names = [registry.name("app:1")];
    let push = |options: RegistryOptions| {
        push(
            &client(options),
            &set,
            &names,
            &blobs,
            PushOptions::default(),
        )
    };
    let error = push(options()).unwrap_err();
    let ExportError::Push { source, .. } = &error else {
        panic!("{error}")
    };
    assert!(
        source.to_string().contains("certificate is not trusted"),
        "{source}"
    );
    assert!(error.hints()[0].contains("certs.d"), "{:?}", error.hints());

    let trusting = RegistryOptions {
        ca_files: vec![registry.authority()],
        ..options()
    };
    push(trusting).unwrap();
    let certs = tempfile::tempdir().unwrap();
    let directory = certs.path().join(registry.host());
    std::fs::create_dir(&directory).unwrap();
    std::fs::copy(registry.authority(), directory.join("ca.crt")).unwrap();
    let by_directory = RegistryOptions {
        certs_dirs: vec![certs.path().to_owned()],
        ..options()
    };
    push(by_directory).unwrap();
    let careless = RegistryOptions {
        insecure: vec![registry.host()],
        ..options()
    };
    push(careless).unwrap();
}

#[test]
fn a_bit_that_flipped_on_the_registrys_disk_is_found() {
    let registry = Debian::start();
    let mut blobs = Blobs::default();
    let layers = vec![layer(&mut blobs, "a", &[3; 1000])];
    let descriptor = layers[0].descriptor.clone();
    let name = registry.name("app:1");
    let client = plain_client();
    push(
        &client,
        &set(layers),
        &[name.clone()],
        &blobs,
        PushOptions::default(),
    )
    .unwrap();
    let path = registry.blob_file(&descriptor.digest);
    let good = std::fs::read(&path).unwrap();
    for position in (0..good.len()).step_by(good.len() / 16) {
        let mut bad = good.clone();
        bad[position] ^= 1;
        std::fs::write(&path, bad).unwrap();
        let mut bytes = Vec::new();
        let error = client
            .blob(&name, &descriptor)
            .unwrap()
            .read_to_end(&mut bytes)
            .unwrap_err();
        let error = error.downcast::<VerifyError>().unwrap();
        assert!(matches!(error, VerifyError::Content { .. }), "{error}");
    }
}

#[test]
fn a_blob_that_vanished_before_the_manifest_is_sent_again() {
    let registry = Debian::start();
    let (port, mut blobs) = (registry.port(), Blobs::default());
    let layers = vec![layer(&mut blobs, "a", b"a")];
    let link = registry.blob_link("app", &layers[0].descriptor.digest);
    let proxy = Server::start(move |request| {
        let is_first_put = request.method == "PUT" && request.path.contains("/manifests/");
        if is_first_put {
            // Fails from the second time on, when the link is gone already.
            let _ = std::fs::rename(&link, link.with_extension("gone"));
        }
        forward(port, request)
    });
    let name: builder::reference::Reference = format!("{}/app:1", proxy.host()).parse().unwrap();
    let result = push(
        &plain_client(),
        &set(layers),
        &[name.clone()],
        &blobs,
        PushOptions::default(),
    );
    // The proxy deletes the blob before both publications, so the push must fail, and no tag may
    // have moved.
    assert!(result.is_err());
    assert_eq!(blobs.opened(), 2, "the blob is sent again once");
    assert!(plain_client().resolve(&registry.name("app:1")).is_err());
}
