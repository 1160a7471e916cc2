//! From a meeting's events to who was there, spoke, shared and had the camera on.

use crate::ids::{Product, UserId};
use crate::media::{Pts, Timestamp};
use crate::output::people::{Moment, Participant, People, Presence, Stretch};
use crate::protocol::happening::{Happening, Kind, Who};
use crate::timeline::clock::Clock;
use std::collections::HashMap;

/// What happened so far, in the order in which it came: what the events mean depends on the product.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<Happening>);

impl Seen {
    pub(super) fn push(&mut self, happening: &Happening) {
        self.0.push(happening.clone());
    }

    /// Who is there after all of it.
    pub(super) fn present(&self, product: Option<Product>) -> Vec<String> {
        let mut present: HashMap<&UserId, (usize, &Who)> = HashMap::new();
        let mut came = 0;
        for happening in &self.0 {
            let kind = happening.kind(product);
            for who in &happening.who {
                match kind {
                    Some(Kind::Left) => drop(present.remove(&who.user_id)),
                    // Zoom tells a new connection again who is there.
                    Some(Kind::Joined) => {
                        came += 1;
                        present.entry(&who.user_id).or_insert((came, who));
                    }
                    _ => {}
                }
            }
        }
        let mut present: Vec<(usize, &Who)> = present.into_values().collect();
        present.sort_unstable_by_key(|(came, _)| *came);
        let name = |who: &Who| who.user_name.clone().unwrap_or_else(|| who.user_id.to_string());
        present.into_iter().map(|(_, who)| name(who)).collect()
    }

    /// Who did what; what has not ended by then lasts to the end of the timeline.
    pub(super) fn finish(mut self, clock: &Clock, end: Pts, product: Option<Product>) -> People {
        // Two sockets in turn may have brought them.
        self.0.sort_by_key(|happening| happening.at);
        let mut fold = Fold { clock, people: People::default(), index: HashMap::new() };
        for happening in &self.0 {
            if let Some(kind) = happening.kind(product) {
                fold.apply(kind, happening);
            }
            if let Some(name) = happening.of_contact_center(product) {
                fold.moment(name, happening);
            }
        }
        let mut people = fold.people;
        for presence in people.participants.iter_mut().flat_map(|p| &mut p.present).filter(|p| p.until.is_none()) {
            presence.end_ms = end.max(presence.start_ms.unwrap_or(end));
        }
        let stretches = [&mut people.speakers, &mut people.sharing, &mut people.cameras];
        for stretch in stretches.into_iter().flatten().filter(|stretch| stretch.until.is_none()) {
            stretch.end_ms = end.max(stretch.start_ms);
        }
        people
    }
}

struct Fold<'a> {
    clock: &'a Clock,
    people: People,
    index: HashMap<UserId, usize>,
}

impl Fold<'_> {
    fn apply(&mut self, kind: Kind, happening: &Happening) {
        let (at, pts) = (happening.at, self.clock.pts(happening.at));
        for who in &happening.who {
            self.known(who);
        }
        let one = happening.who.first();
        match kind {
            Kind::Joined => {
                for who in &happening.who {
                    let present = &mut self.participant(&who.user_id).present;
                    // Zoom tells a new connection again who is there.
                    if present.last().is_none_or(|last| last.until.is_some()) {
                        present.push(Presence { start_ms: Some(pts), end_ms: pts, from: Some(at), until: None });
                    }
                }
            }
            Kind::Left => {
                for who in &happening.who {
                    let present = &mut self.participant(&who.user_id).present;
                    match present.last_mut() {
                        Some(last) if last.until.is_none() => (last.end_ms, last.until) = (pts, Some(at)),
                        Some(_) => {}
                        None => present.push(Presence { start_ms: None, end_ms: pts, from: None, until: Some(at) }),
                    }
                    let People { speakers, sharing, cameras, .. } = &mut self.people;
                    for stretches in [speakers, sharing, cameras] {
                        close(stretches, Some(&who.user_id), at, pts);
                    }
                }
            }
            Kind::Speaker => self.take_over(at, pts, one, |people| &mut people.speakers),
            Kind::SharingStarted => self.take_over(at, pts, one, |people| &mut people.sharing),
            Kind::SharingStopped => close(&mut self.people.sharing, None, at, pts),
            Kind::CameraOn => {
                for who in &happening.who {
                    let on = |s: &Stretch| s.until.is_none() && s.user_id.as_ref() == Some(&who.user_id);
                    if !self.people.cameras.iter().any(on) {
                        let stretch = self.stretch(Some(who), at, pts);
                        self.people.cameras.push(stretch);
                    }
                }
            }
            Kind::CameraOff => {
                happening.who.iter().for_each(|who| close(&mut self.people.cameras, Some(&who.user_id), at, pts));
            }
        }
    }

    fn moment(&mut self, name: &str, happening: &Happening) {
        happening.who.iter().for_each(|who| self.known(who));
        let Stretch { user_id, user_name, .. } = self.stretch(happening.who.first(), happening.at, Pts(0));
        let (at_ms, at) = (self.clock.pts(happening.at), happening.at);
        self.people.engagement.push(Moment { at_ms, at, event: name.to_owned(), user_id, user_name });
    }

    /// One at a time: whoever begins ends what another did.
    fn take_over(&mut self, at: Timestamp, pts: Pts, who: Option<&Who>, of: fn(&mut People) -> &mut Vec<Stretch>) {
        let user = who.map(|who| &who.user_id);
        let goes_on = of(&mut self.people).last().is_some_and(|s| s.until.is_none() && s.user_id.as_ref() == user);
        if goes_on {
            return;
        }
        let stretch = self.stretch(who, at, pts);
        let stretches = of(&mut self.people);
        close(stretches, None, at, pts);
        stretches.push(stretch);
    }

    fn stretch(&self, who: Option<&Who>, at: Timestamp, pts: Pts) -> Stretch {
        let known = who.and_then(|who| self.index.get(&who.user_id)).map(|&index| &self.people.participants[index]);
        let user_name = known.and_then(|participant| participant.user_name.clone());
        Stretch {
            user_id: who.map(|who| who.user_id.clone()),
            user_name,
            start_ms: pts,
            end_ms: pts,
            from: at,
            until: None,
        }
    }

    fn known(&mut self, who: &Who) {
        let participant = self.participant(&who.user_id);
        if who.user_name.is_some() && participant.user_name != who.user_name {
            let earlier = std::mem::replace(&mut participant.user_name, who.user_name.clone());
            participant.earlier_names.extend(earlier);
        }
    }

    fn participant(&mut self, user: &UserId) -> &mut Participant {
        let participants = &mut self.people.participants;
        let index = *self.index.entry(user.clone()).or_insert_with(|| {
            let (user_id, user_name) = (user.clone(), None);
            participants.push(Participant { user_id, user_name, earlier_names: Vec::new(), present: Vec::new() });
            participants.len() - 1
        });
        &mut participants[index]
    }
}

/// Ends what this user does, or whoever.
fn close(stretches: &mut [Stretch], user: Option<&UserId>, at: Timestamp, pts: Pts) {
    // Only those at the end can be open, but for cameras, which are few.
    let is_theirs = |s: &&mut Stretch| s.until.is_none() && user.is_none_or(|user| s.user_id.as_ref() == Some(user));
    stretches.iter_mut().filter(is_theirs).for_each(|s| (s.end_ms, s.until) = (pts, Some(at)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::clock::PausePolicy;
    use serde_json::{Value, json};

    const ZERO: i64 = 1_795_000_000_000;

    fn fold(product: Product, events: &[(i64, Value)]) -> Value {
        let clock = Clock::new(Timestamp(ZERO), PausePolicy::Cut);
        let mut seen = Seen::default();
        for (at, event) in events {
            let mut event = event.clone();
            event["timestamp"] = json!(ZERO + at);
            seen.push(&Happening::parse(&event).unwrap());
        }
        serde_json::to_value(seen.finish(&clock, Pts(30_000), Some(product))).unwrap()
    }

    /// `start..end`, with `-` for an end that is not known.
    fn spans(list: &Value) -> Vec<String> {
        let span = |item: &Value| {
            let end = if item["until"].is_null() { "-".to_owned() } else { item["end_ms"].to_string() };
            format!("{} {}..{end}", item["user_name"].as_str().unwrap_or("?"), item["start_ms"])
        };
        list.as_array().unwrap().iter().map(span).collect()
    }

    #[test]
    fn people_come_and_go_speak_and_share() {
        let list = |kind: i64, people: &[(u32, &str)]| {
            let people: Vec<Value> =
                people.iter().map(|(id, name)| json!({"user_id": id.to_string(), "user_name": name})).collect();
            json!({"event_type": kind, "participants": people})
        };
        let one = |kind: i64, id: u32, name: &str| json!({"event_type": kind, "user_id": id, "user_name": name});
        let people = fold(
            Product::Meeting,
            &[
                (-500, list(3, &[(1, "Ada"), (2, "Bo")])),
                (0, one(2, 1, "Ada")),
                (1000, one(5, 2, "Bo")),
                (2000, one(2, 1, "Ada")),
                (3000, list(3, &[(1, "Ada"), (2, "Bob")])),
                (4000, one(2, 2, "Bob")),
                (5000, json!({"event_type": 6})),
                (6000, list(8, &[(1, ""), (2, "")])),
                (7000, json!({"event_type": 4, "participants": [{"user_id": 2}]})),
                (8000, json!({"event_type": 4, "participants": [{"user_id": 9}]})),
                (9000, list(3, &[(2, "Bob")])),
            ],
        );
        assert_eq!(spans(&people["speakers"]), ["Ada 0..4000", "Bob 4000..7000"]);
        assert_eq!(spans(&people["sharing"]), ["Bo 1000..5000"]);
        assert_eq!(spans(&people["cameras"]), ["Ada 6000..-", "Bob 6000..7000"]);
        assert_eq!(spans(&people["participants"][0]["present"]), ["? -500..-"]);
        assert_eq!(spans(&people["participants"][1]["present"]), ["? -500..7000", "? 9000..-"]);
        assert_eq!(people["participants"][1]["earlier_names"], json!(["Bo"]));
        assert_eq!(
            people["participants"][2]["present"],
            json!([{"end_ms": 8000, "until": "2026-11-18T11:06:48.000Z"}])
        );
    }

    #[test]
    fn contact_center_has_no_cameras() {
        let answered = json!({"event_type": 8, "paticipant_info": {"user_id": "agent", "display_name": "Grace"}});
        let people = fold(Product::ContactCenter, &[(0, answered.clone()), (500, json!({"event_type": 12}))]);
        assert_eq!(people["cameras"], json!([]));
        assert_eq!(people["participants"][0]["present"][0]["start_ms"], 0);
        let engagement = people["engagement"].as_array().unwrap();
        assert_eq!(
            (&engagement[0]["event"], &engagement[0]["user_name"]),
            (&json!("CONSUMER_ANSWERED"), &json!("Grace"))
        );
        assert_eq!((&engagement[1]["event"], &engagement[1]["at_ms"]), (&json!("USER_HOLD"), &json!(500)));
        assert_eq!(fold(Product::Meeting, &[(0, answered.clone())])["cameras"].as_array().unwrap().len(), 1);
        assert!(fold(Product::Meeting, &[(0, answered)])["engagement"].is_null());
    }
}
