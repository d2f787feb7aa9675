// Arabic for the pages of tunnels. See tunnels.en.ts.

import { type Html, html } from '../html.ts';
import type { Words } from './words.ts';

export const tunnelErrors: Pick<
  Words['errors'],
  keyof typeof import('./tunnels.en.ts').tunnelErrors
> = {
  'no-user': 'ليس لحسابك مستخدم أنفاق، فلا يمكن أن تكون له أنفاق. تواصل مع المشغّل.',
  'no-such-user': 'لم يعد مستخدم الأنفاق الخاص بك موجودًا. تواصل مع المشغّل.',
  'user-disabled': 'عطّل أحد المشرفين أنفاقك. تواصل مع المشغّل.',
  'tunnel-disabled': 'هذا النفق موقوف أو معطّل، فلا يمكن فعل ذلك الآن.',
  'no-such-tunnel': 'لا يوجد نفق كهذا.',
  'has-tunnel': 'لديك نفق من هذا النوع بالفعل.',
  'no-free-tunnel': 'كل الأنفاق موزّعة في الوقت الحالي. تواصل مع المشغّل.',
  'no-free-prefix': 'كل البادئات بهذا الطول موزّعة في الوقت الحالي.',
  'prefix-length-unavailable': 'لا توجد هنا بادئات بهذا الطول.',
  'prefix-for-anonymous': 'البادئات للمستخدمين فقط.',
  'proxy-not-allowed': 'لا يمكنك إعطاء عنوان غير الذي تأتي منه.',
  'address-in-use': 'يقود نفق شخص آخر إلى هذا العنوان حاليًا.',
  'too-many-from-address': 'عند هذا العنوان أقصى عدد مسموح به من الأنفاق.',
  'address-invalid': 'ليس هذا عنوان IPv4 يمكن أن يقود إليه نفق.',
  'address-private':
    'هذا العنوان خاص ولا معنى له خارج شبكتك. أعطِ عنوانك العام، أو دع عميلًا يسجّل الدخول.',
  'address-ours': 'هذا العنوان يخص خادم الأنفاق نفسه.',
  'address-not-yours':
    'لا يمكنك إعطاء غير عنوان IPv4 الذي تأتي منه: افتح هذه الصفحة من الجهاز نفسه أو من شبكته، وعبر IPv4.',
  'name-servers-invalid':
    'خادم الأسماء اسم مضيف أو عنوان؛ ويمكن إدخال ثمانية على الأكثر، كلٌّ في سطر.',
  unchanged: 'هو كذلك بالفعل.',
  'too-often': 'هذه تغييرات كثيرة. حاول مجددًا بعد ساعة.',
};

export const tunnelFlashes: Pick<
  Words['flash'],
  keyof typeof import('./tunnels.en.ts').tunnelFlashes
> = {
  'tunnel-made': 'أصبح النفق لك. الخطوة التالية إعداده.',
  'tunnel-paused': 'أُوقف النفق. تبقى عناوينه لك.',
  'tunnel-resumed': 'يمكن استخدام النفق من جديد.',
  'tunnel-deleted': 'حُذف النفق.',
  'tunnel-moved': 'يقود النفق الآن إلى العنوان الجديد.',
  'tunnel-waits': 'ينتظر النفق تسجيل دخول عميله.',
  'name-servers-set': 'سُجّلت خوادم الأسماء.',
  'prefix-added': 'أصبحت البادئة لك.',
};

export const tunnels: Words['tunnels'] = {
  title: 'أنفاقي',
  back: 'أنفاقي',
  backTo: 'العودة إلى النفق',
  lead: 'كل نفق بحالته، وما تفعله إن لم يعمل.',
  none: 'ليس لديك نفق بعد. يستغرق الأمر دقيقة.',
  noUser: 'حسابك لعمل فريق الخدمة وليست له أنفاق.',
  another: 'احصل على نفق آخر',
  open: 'عرض النفق',
  kind: { ipv6: 'نفق IPv6', ipv4: 'نفق IPv4 عبر IPv6' },
  state: {
    up: 'متصل',
    heard: 'يعمل',
    silent: 'متصل لكنه صامت',
    down: 'غير متصل',
    paused: 'أوقفتَه أنت',
    disabled: 'عطّله أحد المشرفين',
    deleted: 'محذوف',
  },
  liveUnknown: 'الحالة الحيّة غير معروفة: لا يجيب خادم الأنفاق في هذه اللحظة. هذا ما هو مسجّل.',
  heldUntil: (time: Html) =>
    html`حذفتَ هذا النفق. تُحفظ عناوينه لك حتى ${time}: احصل على نفق قبل ذلك تعُد إليك.`,
  pausedText: 'لا يُسمح لأي عميل بالدخول. تبقى العناوين والبادئة لك.',
  expires: (time: Html) =>
    html`تُستعاد العناوين في ${time} ما لم يتصل عميل. اتصل قبل ذلك لتحتفظ بها.`,
  facts: 'العناوين',
  connection: 'الاتصال',
  address: 'عنوانك',
  gateway: 'طرف الخادم',
  prefix: 'بادئتك',
  noPrefix: 'لا توجد',
  server: 'الخادم',
  user: 'اسم المستخدم',
  encapsulation: 'محمول داخل',
  by: {
    v6udpv4: 'UDP ‏(v6udpv4)، ويمرّ عبر NAT',
    v6v4: 'البروتوكول 41 ‏(v6v4)',
    v4v6: 'IPv4 داخل IPv6 ‏(v4v6)',
  },
  endpoint: 'طرفك',
  nat: 'ترجمة العناوين (NAT)',
  natWords: {
    likely: 'موجودة في الطريق غالبًا',
    unlikely: 'لا توجد في الطريق',
    unknown: 'غير معروف',
  },
  lastIn: 'آخر حزمة منك',
  lastOut: 'آخر حزمة إليك',
  lastLogin: 'آخر تسجيل دخول',
  connectedSince: 'متصل منذ',
  never: 'لم يحدث قط',
  unknown: 'غير معروف',
  mtu: 'أكبر حزمة',
  octets: (count: Html) => html`${count} بايت`,
  nameServers: 'خوادم الأسماء',
  diagnosis: 'التشخيص',
  severity: { problem: 'مشكلة', notice: 'ملاحظة', fine: 'سليم' },
  nothingFound: 'لا شيء يُذكر.',
  traffic: 'حركة البيانات',
  period: { hour: 'ساعة', day: 'يوم', month: 'شهر' },
  lastPeriod: { hour: 'الساعة الأخيرة', day: 'اليوم الأخير', month: 'الشهر الأخير' },
  periods: 'مدة الرسم البياني',
  fromYou: 'منك',
  toYou: 'إليك',
  trafficOf: (period: Html, fromYou: Html, toYou: Html) =>
    html`خلال ${period}: ${fromYou} منك، و${toYou} إليك.`,
  trafficPeak: (rate: Html) => html`أعلى الرسم ${rate}.`,
  trafficNone: (period: Html) => html`لم يمرّ شيء عبر النفق خلال ${period}.`,
  now: 'الآن',
  setUp: 'إعداد النفق',
  setUpText: 'خطوة بخطوة لنظامك، وكل القيم مكتوبة.',
  setup: {
    title: 'إعداد النفق',
    system: 'نظامك',
    by: 'محمول داخل',
    show: 'اعرض الخطوات',
    notThisWay: 'لا يصلح هذا لهذا النفق',
    noServer: 'عنوان الخادم غير معروف هنا، فلا قيم تُكتب. تواصل مع المشغّل.',
    onlyClient: 'نفق IPv4 عبر IPv6 خاص بعميل Sixway. شغّله باسم المستخدم والسر:',
    foreground: 'يستمر هذا حتى تضغط Ctrl+C.',
    evidence: {
      run: 'تُنفَّذ هذه الخطوات في اختبارات المشروع نفسها.',
      documented: 'هذه الخطوات وفق توثيق النظام نفسه.',
      reported: 'هذه الخطوات وفق ما يذكره مستخدمو النظام.',
    },
    secretText: (placeholder: Html) =>
      html`ضع سرّ النفق مكان ${placeholder}. لقد عُرض مرة واحدة؛ فإن لم يكن لديك فاطلب سرًّا جديدًا.`,
    copy: 'نسخ',
    copied: 'نُسخ',
    file: (path: Html, mode: Html) => html`الملف ${path}، بالأذونات ${mode}`,
  },
  secret: {
    title: 'سرّ النفق',
    text: 'تسجّل العملاء الدخول باسم المستخدم وهذا السر. يُعرض مرة واحدة. وعند إنشاء سرّ جديد يبطل السابق، ويبقى النفق المتصل متصلًا.',
    rotate: 'أنشئ سرًّا جديدًا',
    shownTitle: 'سرّ نفقك',
    shownText: 'دوّنه الآن: لن يُعرض مجددًا، ولا يستطيع أحد، ولا نحن، الاطلاع عليه.',
    userName: 'اسم المستخدم',
    secret: 'السر',
    done: 'دوّنته',
  },
  place: {
    title: 'إلى أين يقود',
    loginText:
      'يتبع النفق عميله: يقود إلى حيث يسجّل العميل الدخول. والموجّه الذي لا يعرف غير البروتوكول 41 لا يسجّل الدخول: أعطِ عنوانه.',
    staticText: (address: Html) =>
      html`يقود النفق إلى ${address} بالبروتوكول 41 بلا تسجيل دخول. غيّر العنوان حين يتغيّر عنوانك؛ ويستطيع الموجّه ذلك بنفسه بعميل DNS الديناميكي.`,
    client: 'عنوان IPv4 العام',
    youComeFrom: (address: Html) => html`أنت تأتي من ${address}.`,
    youComeByIpv6:
      'أتيت عبر IPv6، فلا يمكن التحقق من عنوان IPv4 لديك. افتح هذه الصفحة عبر IPv4 لتضبطه.',
    set: 'وجّهه إليه',
    toLogin: 'دع عميلًا يسجّل الدخول بدل ذلك',
    dyndns: 'لعميل DNS الديناميكي في الموجّه (بروتوكول dyndns2):',
    dyndnsServer: 'الخادم',
    dyndnsHost: 'اسم المضيف',
    dyndnsUser: 'اسم المستخدم',
    dyndnsPassword: 'كلمة المرور',
    dyndnsPasswordText: 'سرّ نفقك',
  },
  names: {
    title: 'DNS العكسي',
    text: (prefix: Html) =>
      html`خوادم الأسماء التي تجيب عن أسماء العناوين في ${prefix}. كلٌّ في سطر؛ واتركه فارغًا لما يطلبه العميل.`,
    label: 'خوادم الأسماء',
    set: 'اضبطها',
  },
  addPrefix: {
    title: 'أضف بادئة',
    text: 'لشبكة خلف النفق. ومتى صارت لك بقيت كما هي.',
    submit: 'أضفها',
  },
  manage: 'الإيقاف أو الحذف',
  pause: 'أوقفه',
  pauseText: 'لا يمرّ شيء حتى تستأنفه. تبقى العناوين لك.',
  resume: 'استأنفه',
  bringUp: 'شغّله من جديد',
  delete: 'احذفه',
  deleteTitle: 'حذف النفق',
  deleteText: (days: Html) =>
    html`تُحفظ عناوينه لك ${days} يومًا ثم تُعطى لغيرك. أوقف عميلك أولًا: فالعميل الذي يواصل تسجيل الدخول يُنشئ النفق من جديد.`,
  deleteNow:
    'تُستعاد عناوينه فورًا. أوقف عميلك أولًا: فالعميل الذي يواصل تسجيل الدخول يُنشئ نفقًا من جديد.',
  deleteSubmit: 'احذف النفق',
  create: {
    title: 'احصل على نفق',
    family: 'ماذا تحتاج؟',
    ipv6: 'IPv6 عبر اتصالي بـ IPv4',
    ipv4: 'IPv4 عبر اتصالي الذي فيه IPv6 فقط',
    way: 'كيف يصل إليك؟',
    login: 'عميل يسجّل الدخول. يعمل في كل مكان، وعبر NAT أيضًا، ويتبعك حين تنتقل.',
    static:
      'البروتوكول 41 إلى عنوان IPv4 عام ثابت. للموجّهات والأنظمة التي لا عميل لها؛ ويعمل فورًا.',
    client: 'عنوان IPv4 العام لديك',
    clientHint: 'للبروتوكول 41 فقط.',
    prefix: 'بادئة للشبكة التي خلفه',
    noPrefix: 'بلا بادئة: جهاز واحد فقط',
    prefixOf: (length: number, networks: string) => `بادئة ‎/${length}: ${networks}`,
    oneNetwork: 'شبكة واحدة',
    networks: (count: string) => `${count} شبكة`,
    submit: 'احصل عليه',
    clientOnly: 'أنفاق IPv4 تنتظر دائمًا عميلًا يسجّل الدخول عبر IPv6.',
  },
};

export const tokenScopes = {
  'account:read': 'قراءة هويتك وتصدير بياناتك',
  'account:write': 'إنهاء الجلسات، وإنشاء الرموز وإلغاؤها، وحذف الحساب',
  'tunnels:read': 'قراءة أنفاقك وحركة بياناتها وتشخيصها',
  'tunnels:write': 'إنشاء الأنفاق وتغييرها وإيقافها وحذفها، وإنشاء سرّ جديد',
  'tunnels:endpoint': 'تحديد إلى أين يقود النفق: لعميل DNS الديناميكي في الموجّه',
};
