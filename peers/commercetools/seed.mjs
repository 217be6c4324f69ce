// Puts the shop into a project over its HTTP API, as an installation would.
import { categories, channels, customers, discounts, legatoType, products, settings, shippingMethods } from "./shop.mjs";

export async function seed(base, projectKey, headers) {
  async function send(path, body) {
    const response = await fetch(`${base}/${projectKey}${path}`, {
      method: body ? "POST" : "GET",
      headers: { "content-type": "application/json", ...headers },
      body: body && JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return response.json();
  }
  const en = (text) => ({ en: text });
  const amounts = ({ eur, usd }) => [{ currencyCode: "EUR", centAmount: eur }, { currencyCode: "USD", centAmount: usd }];

  const project = await send("");
  await send("", {
    version: project.version,
    actions: [
      { action: "changeCurrencies", currencies: settings.currencies },
      { action: "changeCountries", countries: settings.countries },
      { action: "changeLanguages", languages: settings.languages },
    ],
  });
  await send("/types", {
    key: legatoType.key,
    name: legatoType.name,
    resourceTypeIds: legatoType.resourceTypeIds,
    fieldDefinitions: legatoType.fields.map((name) => ({
      name, label: en(name), required: false, type: { name: "String" }, inputHint: "SingleLine",
    })),
  });
  await send("/tax-categories", {
    key: "standard",
    name: "Standard",
    rates: [
      { name: "MwSt.", amount: 0.19, includedInPrice: true, country: "DE" },
      { name: "USt.", amount: 0.2, includedInPrice: true, country: "AT" },
      { name: "Sales tax", amount: 0.08, includedInPrice: false, country: "US" },
    ],
  });
  const locations = settings.countries.map((country) => ({ country }));
  const zone = await send("/zones", { key: "world", name: "World", locations });
  for (const { key, name, isDefault, ...prices } of shippingMethods) {
    await send("/shipping-methods", {
      key, name, localizedName: en(name), isDefault,
      taxCategory: { typeId: "tax-category", key: "standard" },
      zoneRates: [
        { zone: { typeId: "zone", id: zone.id }, shippingRates: amounts(prices).map((price) => ({ price })) },
      ],
    });
  }
  for (const { key, name, parent } of categories) {
    await send("/categories", {
      key, name: en(name), slug: en(key), orderHint: "0.1",
      ...(parent && { parent: { typeId: "category", key: parent } }),
    });
  }
  for (const { key, name, city, postalCode } of channels) {
    await send("/channels", {
      key, name: en(name), roles: ["InventorySupply"], address: { country: "DE", city, postalCode },
    });
  }
  await send("/product-types", { key: "part", name: "Part", description: "Anything on a bicycle", attributes: [] });
  const variant = ({ sku, eur, usd, attributes }) => ({
    sku,
    prices: [["DE", eur, "EUR"], ["AT", eur, "EUR"], ["US", usd, "USD"]].map(([country, centAmount, currencyCode]) => ({
      country, value: { currencyCode, centAmount },
    })),
    attributes: Object.entries(attributes).map(([name, value]) => ({ name, value })),
    images: [{ url: `https://images.example/${sku}.jpg`, dimensions: { w: 800, h: 800 } }],
  });
  for (const [slug, name, category, description, variants] of products) {
    await send("/products", {
      key: slug,
      productType: { typeId: "product-type", key: "part" },
      name: en(name), slug: en(slug), description: en(description),
      categories: [
        ...(categories.find((known) => known.key === category).parent ? [{ typeId: "category", key: "parts" }] : []),
        { typeId: "category", key: category },
      ],
      taxCategory: { typeId: "tax-category", key: "standard" },
      masterVariant: variant(variants[0]),
      variants: variants.slice(1).map(variant),
      publish: true,
    });
    for (const { sku, stock } of variants) {
      const [total, berlin, hamburg] = stock;
      await send("/inventory", { sku, quantityOnStock: total });
      for (const [key, quantityOnStock] of [["berlin", berlin], ["hamburg", hamburg]]) {
        await send("/inventory", { sku, quantityOnStock, supplyChannel: { typeId: "channel", key } });
      }
    }
  }
  for (const { code, name, permyriad, validUntil } of discounts) {
    const discount = await send("/cart-discounts", {
      key: code.toLowerCase(),
      name: en(name),
      value: { type: "relative", permyriad },
      cartPredicate: "1=1",
      target: { type: "lineItems", predicate: "1=1" },
      sortOrder: `0.${permyriad}${discounts.findIndex((known) => known.code === code) + 1}`,
      requiresDiscountCode: true,
      isActive: true,
    });
    await send("/discount-codes", {
      code, name: en(name), isActive: true, validUntil, cartDiscounts: [{ typeId: "cart-discount", id: discount.id }],
    });
  }
  for (const customer of customers) await send("/customers", customer);
}
