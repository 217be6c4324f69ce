// The shop of the Lindenhof coffee roastery: plain data, no code.
//
// Prices are euro cents including German VAT: 7 % on coffee, 19 % on everything else. The roastery is too small
// for the EU one-stop shop, so it charges German VAT to Austria as well.
//
// `stock` is what lies in the warehouse, `cafe` what lies in the café (0 if absent), and `untracked` marks what
// can never run out. `name` and `text` are [English, German]. Tests lean on these five:
//   KEN-250-BEAN    exactly 5 (all in the warehouse)     SCALE-01     none left
//   BRA-1000-BEAN   250,000, for load                    COURSE-01    stock is not tracked
//   NER-250-BEAN    7 in the warehouse and 3 in the café

export const languages = ["en", "de"];
export const currency = "EUR";

export const countries = [
  { code: "DE", name: ["Germany", "Deutschland"] },
  { code: "AT", name: ["Austria", "Österreich"] },
];

export const taxes = [
  { code: "coffee", name: "Reduced VAT", percent: 7 },
  { code: "standard", name: "Standard VAT", percent: 19, isDefault: true },
];

export const locations = { warehouse: "Roastery warehouse", cafe: "Café Altstadt" };

export const facets = [
  {
    code: "kind",
    name: ["Kind", "Art"],
    values: [
      { code: "filter-coffee", name: ["Filter coffee", "Filterkaffee"] },
      { code: "espresso", name: ["Espresso", "Espresso"] },
      { code: "brewing", name: ["Brewing", "Zubereitung"] },
      { code: "grinding", name: ["Grinding", "Mahlen"] },
      { code: "care", name: ["Care", "Pflege"] },
      { code: "course", name: ["Course", "Kurs"] },
    ],
  },
  {
    code: "roast",
    name: ["Roast", "Röstung"],
    values: [
      { code: "light", name: ["Light", "Hell"] },
      { code: "medium", name: ["Medium", "Mittel"] },
      { code: "dark", name: ["Dark", "Dunkel"] },
    ],
  },
  {
    code: "origin",
    name: ["Origin", "Herkunft"],
    values: [
      { code: "africa", name: ["Africa", "Afrika"] },
      { code: "central-america", name: ["Central America", "Mittelamerika"] },
      { code: "south-america", name: ["South America", "Südamerika"] },
    ],
  },
];

// Parents come first; `facets` are any-of.
export const collections = [
  { slug: "coffee", name: ["Coffee", "Kaffee"], facets: ["filter-coffee", "espresso"] },
  { slug: "filter-coffee", parent: "coffee", name: ["Filter coffee", "Filterkaffee"], facets: ["filter-coffee"] },
  { slug: "espresso", parent: "coffee", name: ["Espresso", "Espresso"], facets: ["espresso"] },
  { slug: "equipment", name: ["Equipment", "Ausrüstung"], facets: ["brewing", "grinding", "care"] },
  { slug: "grinders", parent: "equipment", name: ["Grinders", "Mühlen"], facets: ["grinding"] },
  { slug: "courses", name: ["Courses", "Kurse"], facets: ["course"] },
];

const size = { code: "size", name: ["Bag", "Packung"] };
const grind = { code: "grind", name: ["Grind", "Mahlgrad"] };
const g250 = ["250 g", "250 g"];
const g1000 = ["1 kg", "1 kg"];
const bean = ["whole bean", "ganze Bohne"];
const ground = ["filter ground", "für Filter gemahlen"];
const white = ["white", "weiß"];
const black = ["black", "schwarz"];

export const products = [
  {
    slug: "ethiopia-yirgacheffe",
    name: ["Ethiopia Yirgacheffe", "Äthiopien Yirgacheffe"],
    text: ["Washed heirloom from 2,000 m: jasmine, bergamot, lemon.", "Gewaschen, 2.000 m: Jasmin, Bergamotte, Zitrone."],
    tax: "coffee",
    facets: ["filter-coffee", "light", "africa"],
    options: [size, grind],
    variants: [
      { sku: "YIR-250-BEAN", options: [g250, bean], price: 1190, stock: 80, cafe: 12 },
      { sku: "YIR-250-FILT", options: [g250, ground], price: 1190, stock: 40 },
      { sku: "YIR-1000-BEAN", options: [g1000, bean], price: 3990, stock: 25 },
      { sku: "YIR-1000-FILT", options: [g1000, ground], price: 3990, stock: 10 },
    ],
  },
  {
    slug: "kenya-nyeri",
    name: ["Kenya Nyeri AA", "Kenia Nyeri AA"],
    text: ["A last small lot: blackcurrant, tomato leaf, cane sugar.", "Letzte Kleinmenge: Cassis, Tomatenblatt, Rohrzucker."],
    tax: "coffee",
    facets: ["filter-coffee", "light", "africa"],
    options: [size],
    variants: [
      { sku: "KEN-250-BEAN", options: [g250], price: 1450, stock: 5 },
      { sku: "KEN-1000-BEAN", options: [g1000], price: 4990, stock: 0 },
    ],
  },
  {
    slug: "colombia-huila",
    name: ["Colombia Huila", "Kolumbien Huila"],
    text: ["A cup for every day: caramel, red apple, milk chocolate.", "Für jeden Tag: Karamell, roter Apfel, Milchschokolade."],
    tax: "coffee",
    facets: ["filter-coffee", "medium", "south-america"],
    options: [size, grind],
    variants: [
      { sku: "HUI-250-BEAN", options: [g250, bean], price: 990, stock: 120, cafe: 20 },
      { sku: "HUI-250-FILT", options: [g250, ground], price: 990, stock: 60 },
      { sku: "HUI-1000-BEAN", options: [g1000, bean], price: 3290, stock: 45 },
    ],
  },
  {
    slug: "guatemala-antigua",
    name: ["Guatemala Antigua", "Guatemala Antigua"],
    text: ["From volcanic soil: cocoa, orange peel, almond.", "Von Vulkanböden: Kakao, Orangenschale, Mandel."],
    tax: "coffee",
    facets: ["filter-coffee", "medium", "central-america"],
    options: [size],
    variants: [
      { sku: "ANT-250-BEAN", options: [g250], price: 1050, stock: 64 },
      { sku: "ANT-1000-BEAN", options: [g1000], price: 3490, stock: 18 },
    ],
  },
  {
    slug: "peru-decaf",
    name: ["Peru Decaf", "Peru entkoffeiniert"],
    text: ["Decaffeinated with spring water and carbonic acid.", "Entkoffeiniert mit Quellwasser und Kohlensäure."],
    tax: "coffee",
    facets: ["filter-coffee", "medium", "south-america"],
    options: [],
    variants: [{ sku: "PER-250-BEAN", options: [], price: 1090, stock: 30 }],
  },
  {
    slug: "cold-brew-bags",
    name: ["Cold brew bags", "Cold-Brew-Beutel"],
    text: ["Ten bags, coarsely ground; steep overnight in the fridge.", "Zehn Beutel, grob gemahlen; über Nacht ziehen lassen."],
    tax: "coffee",
    facets: ["filter-coffee", "dark", "south-america"],
    options: [],
    variants: [{ sku: "COLD-10", options: [], price: 1690, stock: 48 }],
  },
  {
    slug: "brazil-santos",
    name: ["Brazil Santos", "Brasilien Santos"],
    text: ["What offices and cafés order by the pallet: nuts and toffee.", "Für Büros und Cafés: Nuss und Toffee."],
    tax: "coffee",
    facets: ["espresso", "medium", "south-america"],
    options: [size],
    variants: [
      { sku: "BRA-250-BEAN", options: [g250], price: 850, stock: 400, cafe: 16 },
      { sku: "BRA-1000-BEAN", options: [g1000], price: 2690, stock: 250000 },
    ],
  },
  {
    slug: "espresso-lindenhof",
    name: ["Espresso Lindenhof", "Espresso Lindenhof"],
    text: ["The house espresso since 1987: dark chocolate, plum.", "Der Hausespresso seit 1987: Zartbitter, Pflaume."],
    tax: "coffee",
    facets: ["espresso", "dark", "south-america"],
    options: [size],
    variants: [
      { sku: "LIN-250-BEAN", options: [g250], price: 950, stock: 200, cafe: 30 },
      { sku: "LIN-1000-BEAN", options: [g1000], price: 2990, stock: 90 },
    ],
  },
  {
    slug: "espresso-nerone",
    name: ["Espresso Nerone", "Espresso Nerone"],
    text: ["A third of robusta: thick crema, roasted hazelnut.", "Ein Drittel Robusta: dichte Crema, geröstete Haselnuss."],
    tax: "coffee",
    facets: ["espresso", "dark", "africa"],
    options: [size],
    variants: [
      { sku: "NER-250-BEAN", options: [g250], price: 890, stock: 7, cafe: 3 },
      { sku: "NER-1000-BEAN", options: [g1000], price: 2790, stock: 36 },
    ],
  },
  {
    slug: "hand-grinder",
    name: ["Hand grinder Mahlwerk 38", "Handmühle Mahlwerk 38"],
    text: ["A 38 mm steel burr with 24 clicks from espresso to press.", "38-mm-Stahlkegel, 24 Stufen von Espresso bis Stempelkanne."],
    tax: "standard",
    facets: ["grinding"],
    options: [{ code: "finish", name: ["Finish", "Ausführung"] }],
    variants: [
      { sku: "GRIND-38-STEEL", options: [["steel", "Edelstahl"]], price: 12900, stock: 14 },
      { sku: "GRIND-38-BLACK", options: [black], price: 13900, stock: 2 },
    ],
  },
  {
    slug: "ceramic-dripper",
    name: ["Ceramic dripper", "Handfilter aus Keramik"],
    text: ["A spiral-ribbed cone for one to four cups.", "Spiralrippen, für eine bis vier Tassen."],
    tax: "standard",
    facets: ["brewing"],
    options: [{ code: "dripper-size", name: ["Size", "Größe"] }, { code: "colour", name: ["Colour", "Farbe"] }],
    variants: [
      { sku: "DRIP-01-WHITE", options: [["01", "01"], white], price: 2190, stock: 35 },
      { sku: "DRIP-02-WHITE", options: [["02", "02"], white], price: 2490, stock: 28 },
      { sku: "DRIP-02-BLACK", options: [["02", "02"], black], price: 2490, stock: 11 },
    ],
  },
  {
    slug: "paper-filters",
    name: ["Paper filters, pack of 100", "Papierfilter, 100 Stück"],
    text: ["Oxygen-bleached paper without taste.", "Sauerstoffgebleicht, ohne Eigengeschmack."],
    tax: "standard",
    facets: ["brewing"],
    options: [{ code: "filter-size", name: ["Size", "Größe"] }],
    variants: [
      { sku: "PAPER-01", options: [["01", "01"]], price: 590, stock: 1200 },
      { sku: "PAPER-02", options: [["02", "02"]], price: 690, stock: 1800 },
    ],
  },
  {
    slug: "gooseneck-kettle",
    name: ["Gooseneck kettle", "Schwanenhalskessel"],
    text: ["0.9 l, holds the chosen temperature for an hour.", "0,9 l, hält die gewählte Temperatur eine Stunde lang."],
    tax: "standard",
    facets: ["brewing"],
    options: [],
    variants: [{ sku: "KETTLE-09", options: [], price: 8990, stock: 9 }],
  },
  {
    slug: "brewing-scale",
    name: ["Brewing scale", "Kaffeewaage"],
    text: ["Weighs to 0.1 g and times the pour.", "Wiegt auf 0,1 g und stoppt den Aufguss."],
    tax: "standard",
    facets: ["brewing"],
    options: [],
    variants: [{ sku: "SCALE-01", options: [], price: 5490, stock: 0 }],
  },
  {
    slug: "cleaning-tablets",
    name: ["Cleaning tablets, pack of 30", "Reinigungstabletten, 30 Stück"],
    text: ["Dissolve coffee oils in portafilters and brewing groups.", "Lösen Kaffeefett in Siebträger und Brühgruppe."],
    tax: "standard",
    facets: ["care"],
    options: [],
    variants: [{ sku: "CLEAN-30", options: [], price: 1290, stock: 75 }],
  },
  {
    slug: "cupping-course",
    name: ["Cupping course", "Verkostungskurs"],
    text: ["Saturday morning at the roastery: eight coffees, one table.", "Samstags in der Rösterei: acht Kaffees, ein Tisch."],
    tax: "standard",
    facets: ["course"],
    options: [],
    variants: [{ sku: "COURSE-01", options: [], price: 4900, untracked: true }],
  },
];

// Rates include 19 % VAT. `minimum` is the goods value, in cents, from which a method may be chosen.
export const shippingMethods = [
  { code: "parcel", name: ["Parcel", "Paket"], text: ["2 to 3 working days", "2 bis 3 Werktage"], rate: 490, minimum: 0 },
  { code: "express", name: ["Express", "Express"], text: ["Next working day", "Nächster Werktag"], rate: 990, minimum: 0 },
  { code: "pickup", name: ["Pick up at the café", "Abholung im Café"], text: ["Today", "Heute"], rate: 0, minimum: 0 },
  {
    code: "free-parcel",
    name: ["Free parcel", "Paket, versandkostenfrei"],
    text: ["2 to 3 working days, from 60 euros", "2 bis 3 Werktage, ab 60 Euro"],
    rate: 0,
    minimum: 6000,
  },
];

// `facet` limits the discount to items that carry this facet value, otherwise it is on the whole order.
export const promotions = [
  { coupon: "ROAST10", name: ["10 % off", "10 % Rabatt"], percent: 10 },
  { coupon: "ESPRESSO20", name: ["20 % off espresso", "20 % auf Espresso"], percent: 20, facet: "espresso" },
  { coupon: "SPRING2024", name: ["Spring 2024", "Frühling 2024"], percent: 15, endsAt: "2024-06-01T00:00:00Z" },
];
