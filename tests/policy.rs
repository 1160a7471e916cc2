//! scripts/deploy/s3-policy.json gives the rights that are needed, and none that is not: moto, which enforces policies, is asked with
//! all of them, and with each taken away. It looks at actions and resources; conditions on `s3:prefix` it does not.

use crate::common::Home;
use crate::common::moto::Moto;
use rtms_recorder::store::{Attributes, Store};
use serde_json::Value;

const POLICY: &str = include_str!("../scripts/deploy/s3-policy.json");
const TEXT: Attributes<'static> =
    Attributes { content_type: "text/plain", cache_control: "no-store", is_media: false, recording: None };

/// The administrator of moto's accounts.
struct Admin {
    moto: Moto,
    http: reqwest::Client,
}

impl Admin {
    async fn iam(&self, action: &str, rest: &[(&str, &str)]) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", action).append_pair("Version", "2010-05-08").extend_pairs(rest);
        let request = self.http.post(format!("http://{}/", self.moto.address)).body(form.finish());
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        // It is told by this which service is meant.
        let request =
            request.header("authorization", "AWS4-HMAC-SHA256 Credential=a/20261120/us-east-1/iam/aws4_request");
        let answer = request.send().await.expect("moto answers");
        let status = answer.status();
        let text = answer.text().await.expect("text");
        assert!(status.is_success(), "{action}: {text}");
        text
    }

    /// From now on rights are looked at, or not.
    async fn enforce(&self, enforced: bool) {
        let after = if enforced { "0" } else { "1000000" };
        let url = format!("http://{}/moto-api/reset-auth", self.moto.address);
        let answer = self.http.post(url).body(after).send().await.expect("moto answers");
        assert!(answer.status().is_success());
    }

    /// Gives the user this policy and nothing else.
    async fn allow(&self, policy: &Value) {
        self.enforce(false).await;
        let policy = policy.to_string();
        self.iam("PutUserPolicy", &[("UserName", "u"), ("PolicyName", "p"), ("PolicyDocument", &policy)]).await;
        self.enforce(true).await;
    }

    async fn uploads_left(&self) -> usize {
        self.enforce(false).await;
        let url = format!("http://{}/my-bucket?uploads", self.moto.address);
        let answer = self.http.get(url).header("host", "127.0.0.1").send().await.expect("moto answers");
        self.enforce(true).await;
        answer.text().await.expect("text").matches("<UploadId>").count()
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).and_then(|(_, rest)| rest.split_once(end)).expect(text).0
}

fn without(policy: &Value, action: &str) -> Value {
    let mut policy = policy.clone();
    for statement in policy["Statement"].as_array_mut().expect("statements") {
        match &mut statement["Action"] {
            Value::Array(actions) => actions.retain(|known| known != action),
            known if known == action => *known = "s3:GetBucketLocation".into(),
            _ => {}
        }
    }
    policy
}

/// What `check` says is wrong with the bucket.
async fn wrong(home: &Home) -> Vec<String> {
    let mut command = home.command(&["check", "--json"]);
    let output = tokio::task::spawn_blocking(move || command.output().expect("the binary runs")).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let of_bucket = lines.filter(|line| line["outcome"] != "ok").filter_map(|line| {
        let check = line["check"].as_str()?;
        check.starts_with("bucket").then(|| format!("{check}: {}", line["text"]))
    });
    of_bucket.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_is_enough_and_no_more() {
    crate::common::provide_crypto();
    let Some(moto) = Moto::start("my-bucket").await else {
        println!("skipped: moto is not installed; scripts/test installs it where there is Python");
        return;
    };
    let mut home = Home::with_s3(moto.address);
    let admin = Admin { moto, http: reqwest::Client::new() };
    admin.iam("CreateUser", &[("UserName", "u")]).await;
    let key = admin.iam("CreateAccessKey", &[("UserName", "u")]).await;
    home.set("STORAGE_URL", "s3://my-bucket/zoom");
    home.set("AWS_ACCESS_KEY_ID", between(&key, "<AccessKeyId>", "</AccessKeyId>"));
    home.set("AWS_SECRET_ACCESS_KEY", between(&key, "<SecretAccessKey>", "</SecretAccessKey>"));
    // Of a bulk deletion moto looks at the right to delete the bucket's own ARN; Amazon looks at each object.
    home.set("AWS_DISABLE_BULK_DELETE", "true");
    home.set_zoom(crate::common::ports::free());

    let policy: Value = serde_json::from_str(POLICY).expect("JSON");
    admin.allow(&policy).await;
    assert_eq!(wrong(&home).await, [""; 0]);
    for (action, needed_for) in [
        ("s3:PutObject", "bucket write"),
        ("s3:GetObject", "bucket read"),
        ("s3:DeleteObject", "bucket delete"),
        ("s3:ListBucket", "bucket: "),
    ] {
        admin.allow(&without(&policy, action)).await;
        let wrong = wrong(&home).await;
        assert!(wrong.len() == 1 && wrong[0].starts_with(needed_for), "{action}: {wrong:?}");
        assert!(wrong[0].contains("AccessDenied"), "{action}: {wrong:?}");
    }

    // An upload that fails is taken back, if that is allowed: no part but the last may be so small.
    let env = home.env();
    let store = Store::open("s3://my-bucket/zoom", &|name| env.get(name).cloned()).unwrap();
    let small = || vec![b"a".as_slice().into(), b"b".as_slice().into()];
    admin.allow(&without(&policy, "s3:AbortMultipartUpload")).await;
    store.put_in_parts("2026/a", small(), TEXT).await.unwrap_err();
    assert_eq!(admin.uploads_left().await, 1);
    admin.allow(&policy).await;
    store.put_in_parts("2026/b", small(), TEXT).await.unwrap_err();
    assert_eq!(admin.uploads_left().await, 1, "that of the first only");

    home.set("STORAGE_URL", "s3://my-bucket/elsewhere");
    assert!(wrong(&home).await[0].starts_with("bucket write"), "outside of the prefix nothing is allowed");
}
