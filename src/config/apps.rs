//! The Zoom apps whose events come to this recorder: what signs their webhooks, and what signs the handshakes.
//!
//! The first app has the plain names (`ZOOM_CLIENT_ID`, ...), others have a number behind them (`ZOOM_CLIENT_ID_2`, ...). An app is
//! known by its client id (or SDK key), which is no secret, wherever something has to be remembered of it.

use super::{Credentials, Env, Secret};
use crate::ids::Product;

/// The largest number that is looked for.
const MOST: u32 = 20;

/// Which of the [`Apps`]: its place among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AppIndex(usize);

/// One app, or a General and a Video SDK app with the same Secret Token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct App {
    /// Signs its webhooks.
    pub secret_token: Secret,
    /// Client id and secret: sign the handshakes of everything but Video SDK sessions.
    pub general: Option<Credentials>,
    /// SDK key and secret: sign the handshakes of Video SDK sessions.
    pub video_sdk: Option<Credentials>,
}

impl App {
    fn credentials(&self, product: Product) -> Option<&Credentials> {
        match product {
            Product::Session => self.video_sdk.as_ref(),
            _ => self.general.as_ref(),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Credentials> {
        self.general.iter().chain(&self.video_sdk)
    }
}

/// All apps, the first one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apps(Vec<App>);

impl Apps {
    /// These apps.
    pub fn new(apps: Vec<App>) -> Self {
        Self(apps)
    }

    /// Each with its place.
    pub fn iter(&self) -> impl Iterator<Item = (AppIndex, &App)> {
        self.0.iter().enumerate().map(|(index, app)| (AppIndex(index), app))
    }

    /// What signs the handshakes of a product's streams: `app`'s credentials, or the first for that product if nobody knows
    /// which app it is.
    pub fn credentials(&self, app: Option<AppIndex>, product: Product) -> Option<&Credentials> {
        match app {
            Some(AppIndex(index)) => self.0.get(index)?.credentials(product),
            None => self.0.iter().find_map(|app| app.credentials(product)),
        }
    }

    /// The credentials with this client id or SDK key.
    pub fn by_id(&self, id: &str) -> Option<&Credentials> {
        self.all().find(|credentials| credentials.id == id)
    }

    /// The credentials of all apps.
    pub fn all(&self) -> impl Iterator<Item = &Credentials> {
        self.0.iter().flat_map(App::all)
    }

    pub(super) fn first(&self, product: Product) -> Option<&Credentials> {
        self.credentials(None, product)
    }

    /// Reads the first app, which has to be there, and the numbered ones.
    pub(super) fn read(env: &mut Env<'_>) -> Self {
        let mut apps = first(env);
        for number in 2..=MOST {
            apps.extend(numbered(env, number));
        }
        let apps = Self(apps);
        // By its id a secret is found again.
        let is_ambiguous = |of: &&Credentials| apps.by_id(&of.id).is_some_and(|first| first.secret != of.secret);
        if let Some(Credentials { id, .. }) = apps.all().find(is_ambiguous) {
            env.mistake(
                "ZOOM_CLIENT_ID_2",
                format_args!("or the like is {id:?}, which was given before with another secret; give each app once"),
            );
        }
        apps
    }
}

fn first(env: &mut Env<'_>) -> Vec<App> {
    // Who records Video SDK sessions only has no General app.
    let video_sdk_only = env.text("ZOOM_VIDEO_SDK_KEY").is_some() && !env.has_app();
    let general = if video_sdk_only { None } else { env.app() };
    let video_sdk = env.video_sdk();
    let video_sdk_token = env.secret(&["ZOOM_VIDEO_SDK_SECRET_TOKEN"]);
    let token = env.secret(&[
        "ZOOM_SECRET_TOKEN",
        "WEBHOOK_SECRET_TOKEN",
        "ZM_RTMS_WEBHOOK_SECRET",
        "ZOOM_WEBHOOK_SECRET",
        "ZOOM_WEBHOOK_SECRET_TOKEN",
    ]);
    if token.is_none() && (general.is_some() || video_sdk_token.is_none()) {
        env.mistake("ZOOM_SECRET_TOKEN", "is required: the Secret Token of the Zoom app, from its page Access");
    }
    apart(token, general, video_sdk_token, video_sdk)
}

fn numbered(env: &mut Env<'_>, number: u32) -> Vec<App> {
    let name = |stem: &str| format!("{stem}_{number}");
    let general = env.pair(&name("ZOOM_CLIENT_ID"), &name("ZOOM_CLIENT_SECRET"));
    let video_sdk = env.pair(&name("ZOOM_VIDEO_SDK_KEY"), &name("ZOOM_VIDEO_SDK_SECRET"));
    let token_name = name("ZOOM_SECRET_TOKEN");
    let token = env.secret(&[token_name.as_str()]);
    let video_sdk_token = env.secret(&[name("ZOOM_VIDEO_SDK_SECRET_TOKEN").as_str()]);
    let needed = general.is_some() || (video_sdk.is_some() && video_sdk_token.is_none());
    match (&token, needed) {
        (None, true) => env.mistake(&token_name, "is required: the Secret Token of that app, from its page Access"),
        (Some(_), false) => {
            let id = name("ZOOM_CLIENT_ID");
            env.mistake(&token_name, format_args!("is used together with {id} and its secret, which are not set"));
        }
        _ => {}
    }
    apart(token, general, video_sdk_token, video_sdk)
}

/// One app if both share a token, else two.
fn apart(
    token: Option<Secret>,
    general: Option<Credentials>,
    video_sdk_token: Option<Secret>,
    video_sdk: Option<Credentials>,
) -> Vec<App> {
    let (shared, own) = match &video_sdk_token {
        Some(_) => (None, video_sdk),
        None => (video_sdk, None),
    };
    let app = |secret_token, general, video_sdk| App { secret_token, general, video_sdk };
    let mut apps: Vec<App> = token
        .filter(|_| general.is_some() || shared.is_some())
        .map(|token| app(token, general, shared))
        .into_iter()
        .collect();
    apps.extend(video_sdk_token.zip(own).map(|(token, own)| app(token, None, Some(own))));
    apps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Apps, String> {
        let find = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let mut env = Env::new(&find);
        let apps = Apps::read(&mut env);
        env.checked(apps).map_err(|mistakes| mistakes.to_string())
    }

    const FIRST: [(&str, &str); 3] =
        [("ZOOM_CLIENT_ID", "one"), ("ZOOM_CLIENT_SECRET", "s1"), ("ZOOM_SECRET_TOKEN", "t1")];

    fn with(more: &[(&'static str, &'static str)]) -> Result<Apps, String> {
        let mut vars = FIRST.to_vec();
        vars.extend(more);
        read(&vars)
    }

    fn shown(apps: &Apps) -> Vec<(String, Option<String>, Option<String>)> {
        let id = |credentials: &Option<Credentials>| credentials.as_ref().map(|credentials| credentials.id.clone());
        apps.iter()
            .map(|(_, app)| (app.secret_token.expose().to_owned(), id(&app.general), id(&app.video_sdk)))
            .collect()
    }

    fn app(token: &str, general: Option<&str>, video_sdk: Option<&str>) -> (String, Option<String>, Option<String>) {
        (token.to_owned(), general.map(str::to_owned), video_sdk.map(str::to_owned))
    }

    #[test]
    fn apps_have_numbers_and_a_video_sdk_app_may_have_a_token_of_its_own() {
        assert_eq!(shown(&with(&[]).unwrap()), [app("t1", Some("one"), None)]);
        let sdk = [("ZOOM_VIDEO_SDK_KEY", "k1"), ("ZOOM_VIDEO_SDK_SECRET", "s")];
        assert_eq!(shown(&with(&sdk).unwrap()), [app("t1", Some("one"), Some("k1"))]);
        let own = [sdk[0], sdk[1], ("ZOOM_VIDEO_SDK_SECRET_TOKEN", "tk")];
        assert_eq!(shown(&with(&own).unwrap()), [app("t1", Some("one"), None), app("tk", None, Some("k1"))]);
        assert_eq!(shown(&read(&own).unwrap()), [app("tk", None, Some("k1"))], "Video SDK alone");
        let more = [
            ("ZOOM_CLIENT_ID_2", "two"),
            ("ZOOM_CLIENT_SECRET_2", "s2"),
            ("ZOOM_SECRET_TOKEN_2", "t2"),
            ("ZOOM_VIDEO_SDK_KEY_4", "k4"),
            ("ZOOM_VIDEO_SDK_SECRET_4", "s4"),
            ("ZOOM_VIDEO_SDK_SECRET_TOKEN_4", "t4"),
        ];
        let apps = with(&more).unwrap();
        let expected = [app("t1", Some("one"), None), app("t2", Some("two"), None), app("t4", None, Some("k4"))];
        assert_eq!(shown(&apps), expected);

        let index = |n: usize| apps.iter().nth(n).map(|(index, _)| index);
        let id = |app, product| apps.credentials(app, product).map(|credentials| credentials.id.as_str());
        assert_eq!(id(index(1), Product::Meeting), Some("two"));
        assert_eq!(id(index(1), Product::Session), None, "that app signs no sessions");
        assert_eq!(id(None, Product::Session), Some("k4"));
        assert_eq!(apps.by_id("two").map(|credentials| credentials.secret.expose()), Some("s2"));
        assert_eq!(apps.by_id("three"), None);
    }

    #[test]
    fn what_is_missing_of_an_app_is_named() {
        for (vars, said) in [
            (&[("ZOOM_CLIENT_ID_2", "two")][..], "ZOOM_CLIENT_ID_2 is used together with ZOOM_CLIENT_SECRET_2"),
            (&[("ZOOM_CLIENT_ID_2", "two"), ("ZOOM_CLIENT_SECRET_2", "s")], "ZOOM_SECRET_TOKEN_2 is required"),
            (&[("ZOOM_SECRET_TOKEN_3", "t")], "ZOOM_SECRET_TOKEN_3 is used together with ZOOM_CLIENT_ID_3"),
            (
                &[("ZOOM_CLIENT_ID_2", "one"), ("ZOOM_CLIENT_SECRET_2", "s"), ("ZOOM_SECRET_TOKEN_2", "t")],
                "\"one\", which was given before with another secret",
            ),
        ] {
            let mistakes = with(vars).unwrap_err();
            assert!(mistakes.contains(said), "{mistakes}");
        }
        assert!(read(&[]).unwrap_err().contains("ZOOM_CLIENT_ID is required"));
    }
}
