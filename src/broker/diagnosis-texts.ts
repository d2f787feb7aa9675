// The sentences of diagnosis.ts, in each language: what is wrong, and what to do. A table for each, with
// every key; whoever adds a language adds a table. Knows no tunnels, only the values of findings.

import type { Finding, FindingKey, FindingValues } from './diagnosis.ts';

export type Language = 'en' | 'ar';

/** How what is not words is written; the reader's page has its own ways. */
export interface Format {
  /** A moment, from Unix milliseconds, so that it fits into "since …" and "at …". */
  readonly time: (atMs: number) => string;
  readonly count: (count: number) => string;
}

type Texts = {
  readonly [K in FindingKey]: (values: FindingValues[K], format: Format) => string;
};

/** One or two sentences, as text. */
export function sentenceOf(finding: Finding, language: Language, format: Format): string {
  const texts: Texts = TEXTS[language];
  const text = texts[finding.key] as (values: Finding['values'], format: Format) => string;
  return text(finding.values, format);
}

const ENGLISH: Texts = {
  'user-disabled': () =>
    'An administrator has disabled the account, so none of its tunnels works: ask for it to be enabled.',
  'tunnel-disabled': () =>
    'An administrator has disabled this tunnel: ask for it to be enabled. Its addresses are kept.',
  'not-measured': () =>
    'The server cannot say at present what goes through the tunnel: look again in a minute.',
  'never-logged-in': () =>
    'No client has logged in to this tunnel yet: set one up with the name and the secret.',
  'knocks-without-login': ({ from, atMs }, { time }) =>
    `Packets with this tunnel’s addresses came from ${from} (last ${time(atMs)}), but the client is not ` +
    'logged in: start it again, or log in from there.',
  'logged-out': ({ lastLoginAtMs }, { time }) =>
    `The client is not logged in (last login ${time(lastLoginAtMs)}): start it, and look at what it says ` +
    'if it cannot log in.',
  'addresses-expire': ({ atMs }, { time }) =>
    `Without a client the tunnel’s addresses are kept until ${time(atMs)}: log in before.`,
  'unheard-udp': ({ endpoint, sinceMs }, { time }) =>
    `The client logged in from ${endpoint} (${time(sinceMs)}), but no packet has come through the tunnel ` +
    'since: check that its tunnel device is up and that its firewall and router let UDP to port 3653 out.',
  'unheard-protocol-41': ({ endpoint, sinceMs }, { time }) =>
    `The client logged in for ${endpoint} (${time(sinceMs)}), but no packet has come through the tunnel ` +
    'since: its router probably does not pass protocol 41, so use UDP (v6udpv4) or forward protocol 41.',
  'unheard-v4v6': ({ endpoint, sinceMs }, { time }) =>
    `The client logged in from ${endpoint} (${time(sinceMs)}), but no packet has come through the tunnel ` +
    'since: check that its tunnel device is up and that its firewall lets IPv4 in IPv6 (protocol 4) out.',
  'just-logged-in': ({ atMs }, { time }) =>
    `The client logged in ${time(atMs)} and has sent nothing through the tunnel yet: give it a moment.`,
  'heard-elsewhere': ({ from, expected, atMs }, { time }) =>
    `We hear the client, but from ${from} (last ${time(atMs)}) and not from ${expected}, where it logged ` +
    'in: its NAT has given it another address or port, so let it log in again and send keepalives.',
  silent: ({ lastHeardMs, keepaliveSeconds }, { time, count }) =>
    `The client was heard last ${time(lastHeardMs)}, though a keepalive is due every ` +
    `${count(keepaliveSeconds)} s: it is off, or its connection is down, or its NAT has forgotten it.`,
  'keepalive-late': ({ lastHeardMs, keepaliveSeconds }, { time, count }) =>
    `A keepalive is late: the client was heard last ${time(lastHeardMs)}, and is to send one every ` +
    `${count(keepaliveSeconds)} s. If that happens often, its connection loses packets.`,
  'one-way': ({ outPackets, lastSentMs }, { time, count }) =>
    `Packets go to the client (${count(outPackets)} in all, last ${time(lastSentMs)}) and none comes back: ` +
    'a firewall or router on its side may let them neither in nor out.',
  'foreign-source': ({ source, atMs }, { time }) =>
    `The client sends packets with the source ${source} (last ${time(atMs)}), which is not of this tunnel ` +
    'but usually of another IPv6 connection: let only the tunnel’s addresses use the tunnel.',
  'former-prefix': ({ source, atMs }, { time }) =>
    `The client sends packets with the source ${source} (last ${time(atMs)}), out of a prefix that is ` +
    'nobody’s at present: remove the addresses of an earlier prefix from the LAN.',
  'wrong-source': ({ packets }, { count }) =>
    `Dropped because their source was another address of the link than the client’s: ${count(packets)} ` +
    'packets. Give the tunnel device exactly the address that the login gave it.',
  'to-gateway': ({ packets }, { count }) =>
    `Dropped because they were for the server’s end of the link and no pings: ${count(packets)} packets. ` +
    'Nothing listens there: point name servers and time servers elsewhere.',
  'came-while-down': ({ packets }, { count }) =>
    `Dropped because they came while the tunnel was down: ${count(packets)} packets. The client went on ` +
    'sending without a login; it should log in again by itself.',
  'others-with-our-addresses': ({ packets, from }, { count }) =>
    `Dropped because they came from elsewhere than the client: ${count(packets)} packets` +
    `${from === undefined ? '' : `, lately from ${from}`}. After a change of network the client has to ` +
    'log in again; if it has, somebody may forge its addresses, and that was stopped.',
  'port-closed': ({ packets }, { count }) =>
    `Dropped because they were for a port that is closed for this tunnel: ${count(packets)} packets. Mail ` +
    'programs should use 465 or 587; for a mail server of one’s own ask an administrator.',
  'rate-in': ({ packets }, { count }) =>
    `Dropped because the client sent faster than this tunnel may: ${count(packets)} packets. Send less, or ` +
    'ask an administrator for a higher rate.',
  'rate-out': ({ packets }, { count }) =>
    `Dropped because more came for the client than this tunnel may receive: ${count(packets)} packets. Ask ` +
    'for less, or ask an administrator for a higher rate.',
  'too-big': ({ packets, mtu }, { count }) =>
    `Larger than the tunnel’s MTU of ${count(mtu)}: ${count(packets)} packets, whose senders were told. If ` +
    'large transfers hang, something drops ICMPv6: clamp the MSS of TCP, or lower the MTU of the LAN.',
  'not-deliverable': ({ packets }, { count }) =>
    `For the client, but the tunnel was down or not heard of yet: ${count(packets)} packets. There is ` +
    'nothing to do if it works now.',
  'scanned-link': ({ packets }, { count }) =>
    `For addresses of the link that are not the client’s: ${count(packets)} packets. That is usually a scan, ` +
    'and there is nothing to do.',
  congestion: ({ packets }, { count }) =>
    `Marked as congested on the way and dropped: ${count(packets)} packets. If it goes on, the client’s ` +
    'connection is overloaded.',
  'server-refused': ({ packets }, { count }) =>
    `The server’s kernel could not work on ${count(packets)} packets: if it goes on, tell the operator.`,
  'only-keepalives': ({ prefix }) =>
    'The client is heard, but nothing was ever sent to it: if IPv6 does not work, check that its default ' +
    `route leads into the tunnel${prefix === undefined ? '' : `, and that the LAN uses ${prefix}`}.`,
  works: ({ lastHeardMs }, { time }) =>
    `The tunnel works: the client was heard ${time(lastHeardMs)}.`,
};

/** Left to right is kept by isolates where an address stands inside a sentence. */
const ltr = (text: string): string => `\u2066${text}\u2069`;

const ARABIC: Texts = {
  'user-disabled': () => 'عطّل أحد المشرفين الحساب، فلا يعمل أي من أنفاقه: اطلب تفعيله من جديد.',
  'tunnel-disabled': () => 'عطّل أحد المشرفين هذا النفق: اطلب تفعيله من جديد. عناوينه محفوظة.',
  'not-measured': () => 'لا يستطيع الخادم حاليًا معرفة ما يمرّ عبر النفق: أعد النظر بعد دقيقة.',
  'never-logged-in': () => 'لم يسجّل أي عميل دخوله إلى هذا النفق بعد: اضبط عميلًا بالاسم والسر.',
  'knocks-without-login': ({ from, atMs }, { time }) =>
    `وصلت حزم بعناوين هذا النفق من ${ltr(from)} (آخرها ${time(atMs)})، لكن العميل لم يسجّل دخوله: أعد ` +
    'تشغيله، أو سجّل الدخول من هناك.',
  'logged-out': ({ lastLoginAtMs }, { time }) =>
    `العميل غير مسجّل الدخول (آخر دخول ${time(lastLoginAtMs)}): شغّله، واقرأ ما يقوله إن تعذّر عليه الدخول.`,
  'addresses-expire': ({ atMs }, { time }) =>
    `تبقى عناوين النفق محفوظة من دون عميل حتى ${time(atMs)}: سجّل الدخول قبل ذلك.`,
  'unheard-udp': ({ endpoint, sinceMs }, { time }) =>
    `سجّل العميل دخوله من ${ltr(endpoint)} (${time(sinceMs)})، ولم تصل عبر النفق أي حزمة منذ ذلك: تحقّق من أن ` +
    'واجهة النفق عاملة، وأن الجدار الناري والموجّه يسمحان بخروج UDP إلى المنفذ 3653.',
  'unheard-protocol-41': ({ endpoint, sinceMs }, { time }) =>
    `سجّل العميل دخوله للعنوان ${ltr(endpoint)} (${time(sinceMs)})، ولم تصل عبر النفق أي حزمة منذ ذلك: ` +
    `الأرجح أن الموجّه لا يمرّر البروتوكول 41، فاستخدم UDP (${ltr('v6udpv4')}) أو وجّه البروتوكول 41 إلى العميل.`,
  'unheard-v4v6': ({ endpoint, sinceMs }, { time }) =>
    `سجّل العميل دخوله من ${ltr(endpoint)} (${time(sinceMs)})، ولم تصل عبر النفق أي حزمة منذ ذلك: تحقّق من أن ` +
    'واجهة النفق عاملة، وأن الجدار الناري يسمح بخروج IPv4 داخل IPv6 (البروتوكول 4).',
  'just-logged-in': ({ atMs }, { time }) =>
    `سجّل العميل دخوله ${time(atMs)} ولم يرسل شيئًا عبر النفق بعد: انتظر لحظة.`,
  'heard-elsewhere': ({ from, expected, atMs }, { time }) =>
    `نسمع العميل، لكن من ${ltr(from)} (آخر مرة ${time(atMs)}) لا من ${ltr(expected)} حيث سجّل دخوله: أعطاه مترجم ` +
    'العناوين (NAT) عنوانًا أو منفذًا آخر، فليسجّل الدخول من جديد وليرسل رسائل الإبقاء.',
  silent: ({ lastHeardMs, keepaliveSeconds }, { time, count }) =>
    `سُمع العميل آخر مرة ${time(lastHeardMs)}، مع أن رسالة إبقاء مطلوبة كل ${count(keepaliveSeconds)} ثانية: ` +
    'إما أنه مطفأ، أو أن اتصاله مقطوع، أو أن مترجم العناوين (NAT) نسيه.',
  'keepalive-late': ({ lastHeardMs, keepaliveSeconds }, { time, count }) =>
    `تأخّرت رسالة إبقاء: سُمع العميل آخر مرة ${time(lastHeardMs)}، وعليه أن يرسل واحدة كل ` +
    `${count(keepaliveSeconds)} ثانية. إن تكرّر ذلك فاتصاله يفقد الحزم.`,
  'one-way': ({ outPackets, lastSentMs }, { time, count }) =>
    `تذهب حزم إلى العميل (${count(outPackets)} في المجموع، آخرها ${time(lastSentMs)}) ولا يعود منه شيء: ` +
    'ربما يمنعها جدار ناري أو موجّه لديه من الدخول أو الخروج.',
  'foreign-source': ({ source, atMs }, { time }) =>
    `يرسل العميل حزمًا مصدرها ${ltr(source)} (آخرها ${time(atMs)})، وهو ليس من هذا النفق بل عادةً من اتصال ` +
    'IPv6 آخر: لا تدع غير عناوين النفق تستخدم النفق.',
  'former-prefix': ({ source, atMs }, { time }) =>
    `يرسل العميل حزمًا مصدرها ${ltr(source)} (آخرها ${time(atMs)})، من بادئة ليست لأحد حاليًا: أزل عناوين ` +
    'البادئة السابقة من الشبكة المحلية.',
  'wrong-source': ({ packets }, { count }) =>
    `حزم أُسقطت لأن مصدرها عنوان من الوصلة غير عنوان العميل: ${count(packets)}. أعط واجهة النفق العنوان ` +
    'الذي أُعطي عند تسجيل الدخول بعينه.',
  'to-gateway': ({ packets }, { count }) =>
    `حزم أُسقطت لأنها موجّهة إلى طرف الخادم من الوصلة وليست ping: ${count(packets)}. لا شيء يستمع هناك: ` +
    'وجّه خوادم الأسماء والوقت إلى عنوان آخر.',
  'came-while-down': ({ packets }, { count }) =>
    `حزم أُسقطت لأنها جاءت والنفق متوقف: ${count(packets)}. واصل العميل الإرسال من دون تسجيل دخول؛ وينبغي ` +
    'أن يسجّل الدخول من جديد تلقائيًا.',
  'others-with-our-addresses': ({ packets, from }, { count }) =>
    `حزم أُسقطت لأنها جاءت من غير مكان العميل: ${count(packets)}` +
    `${from === undefined ? '' : `، أخيرًا من ${ltr(from)}`}. بعد تغيير الشبكة على العميل أن يسجّل الدخول من ` +
    'جديد؛ فإن كان قد فعل، فربما يزوّر أحدهم عناوينه، وقد مُنع ذلك.',
  'port-closed': ({ packets }, { count }) =>
    `حزم أُسقطت لأنها موجّهة إلى منفذ مغلق لهذا النفق: ${count(packets)}. على برامج البريد استخدام 465 أو ` +
    '587؛ ولخادم بريد خاص بك اسأل أحد المشرفين.',
  'rate-in': ({ packets }, { count }) =>
    `حزم أُسقطت لأن العميل أرسل أسرع مما يُسمح لهذا النفق: ${count(packets)}. أرسل أقل، أو اطلب من أحد ` +
    'المشرفين سرعة أعلى.',
  'rate-out': ({ packets }, { count }) =>
    `حزم أُسقطت لأن ما جاء للعميل أكثر مما يُسمح لهذا النفق باستقباله: ${count(packets)}. اطلب أقل، أو اطلب ` +
    'من أحد المشرفين سرعة أعلى.',
  'too-big': ({ packets, mtu }, { count }) =>
    `حزم أكبر من وحدة النقل القصوى للنفق (${count(mtu)}): ${count(packets)}، وقد أُبلغ مرسلوها. إن توقّفت ` +
    'عمليات النقل الكبيرة فهناك ما يُسقط ICMPv6: حدّد MSS لبروتوكول TCP، أو اخفض وحدة النقل في الشبكة المحلية.',
  'not-deliverable': ({ packets }, { count }) =>
    `حزم للعميل جاءت والنفق متوقف أو لم يُسمع منه بعد: ${count(packets)}. لا يلزم شيء إن كان يعمل الآن.`,
  'scanned-link': ({ packets }, { count }) =>
    `حزم لعناوين من الوصلة ليست للعميل: ${count(packets)}. هذا عادةً مسح من الإنترنت ولا يلزم شيء.`,
  congestion: ({ packets }, { count }) =>
    `حزم وُسمت في الطريق بالازدحام فأُسقطت: ${count(packets)}. إن استمر ذلك فاتصال العميل مثقل.`,
  'server-refused': ({ packets }, { count }) =>
    `حزم لم تستطع نواة الخادم معالجتها: ${count(packets)}. إن استمر ذلك فأبلغ المشغّل.`,
  'only-keepalives': ({ prefix }) =>
    'العميل مسموع، لكن لم يُرسل إليه شيء قط: إن لم يعمل IPv6 فتحقّق من أن مساره الافتراضي يقود إلى النفق' +
    `${prefix === undefined ? '' : `، وأن الشبكة المحلية تستخدم ${ltr(prefix)}`}.`,
  works: ({ lastHeardMs }, { time }) => `النفق يعمل: سُمع العميل ${time(lastHeardMs)}.`,
};

const TEXTS: Readonly<Record<Language, Texts>> = { en: ENGLISH, ar: ARABIC };

export const FINDING_KEYS = Object.keys(ENGLISH) as readonly FindingKey[];
