// The shop: plain data. The variants that tests lean on are named first.
//   BELL-BRASS, GRIP-CORK  100 in stock        SPOKE-STEEL  10,000
//   LAMP-DYNAMO            exactly 5           SADDLE-LEATHER  none
// Prices are in cents, tax included (Germany) or not (United States). Stock: [without a channel, berlin, hamburg].
export const settings = { currencies: ["EUR", "USD"], countries: ["DE", "AT", "US"], languages: ["en", "de"] };

// What an installation adds to its project for the adapter: one Type with these fields.
export const legatoType = {
  key: "legato",
  name: { en: "Legato" },
  resourceTypeIds: ["order", "customer"], // "order" stands for carts and orders
  fields: [
    "legatoCommands", "legatoCart", "legatoTenant", "legatoState", "legatoStore",
    "legatoOwner", "legatoCustomer", "legatoNote", "legatoPhone",
  ],
};

export const categories = [
  { key: "parts", name: "Parts" },
  { key: "tyres", name: "Tyres", parent: "parts" },
  { key: "light", name: "Light", parent: "parts" },
  { key: "comfort", name: "Comfort" },
];

export const channels = [
  { key: "berlin", name: "Berlin workshop", city: "Berlin", postalCode: "10119" },
  { key: "hamburg", name: "Hamburg workshop", city: "Hamburg", postalCode: "20457" },
];

const one = (sku, eur, stock, attributes = {}) => ({ sku, eur, usd: Math.round(eur * 1.1), stock, attributes });

export const products = [
  ["brass-bell", "Brass bell", "comfort", "Loud, and lasts for ever.", [one("BELL-BRASS", 1490, [100, 60, 40])]],
  ["cork-grips", "Cork grips", "comfort", "Warm in winter.", [one("GRIP-CORK", 1999, [100, 50, 50])]],
  ["steel-spoke", "Steel spoke", "parts", "Stainless, 2 mm.", [one("SPOKE-STEEL", 40, [10000, 6000, 4000])]],
  ["dynamo-lamp", "Dynamo lamp", "light", "Shines as long as you ride.", [one("LAMP-DYNAMO", 6450, [5, 3, 2])]],
  ["leather-saddle", "Leather saddle", "comfort", "Made to order, mostly.", [one("SADDLE-LEATHER", 12900, [0, 0, 0])]],
  ["city-tyre", "City tyre", "tyres", "Rolls well, and does not puncture.", [
    one("TYRE-28-BLK", 2790, [80, 40, 40], { size: "28", colour: "black" }),
    one("TYRE-28-CRM", 2990, [30, 10, 20], { size: "28", colour: "cream" }),
    one("TYRE-26-BLK", 2690, [60, 30, 30], { size: "26", colour: "black" }),
  ]],
  ["gravel-tyre", "Gravel tyre", "tyres", "For what roads were before.", [one("GRAVEL-40", 4490, [25, 20, 5])]],
  ["rear-light", "Rear light", "light", "With a stand light.", [one("LIGHT-REAR", 2290, [44, 22, 22])]],
  ["chain", "Chain", "parts", "For eight speeds.", [one("CHAIN-8", 1890, [70, 50, 20])]],
  ["pedals", "Pedals", "parts", "With rubber treads.", [one("PEDAL-RUBBER", 2490, [33, 30, 3])]],
  ["basket", "Wicker basket", "comfort", "Holds a cat.", [one("BASKET-WICKER", 3990, [12, 6, 6])]],
  ["mudguards", "Mudguards", "parts", "A pair, in steel.", [one("GUARD-STEEL", 3490, [18, 9, 9])]],
];

export const shippingMethods = [
  { key: "standard", name: "Standard delivery", eur: 490, usd: 590, isDefault: true },
  { key: "express", name: "Express delivery", eur: 1290, usd: 1490, isDefault: false },
];

export const discounts = [
  { code: "SPRING10", name: "Ten percent off", permyriad: 1000, validUntil: "2099-01-01T00:00:00.000Z" },
  { code: "WINTER19", name: "Winter 2019", permyriad: 1000, validUntil: "2019-03-01T00:00:00.000Z" },
];

export const customers = [{ email: "ada@shop.example", firstName: "Ada", lastName: "Berg", password: "correct horse" }];
