// Fills an empty Vendure with the shop in seed-data.mjs, through Vendure's own services.
import core from "@vendure/core";
import * as shop from "./seed-data.mjs";

const {
  ChannelService, CollectionService, ConfigService, CountryService, FacetService, FacetValueService,
  GlobalSettingsService, isGraphQlErrorResult, PaymentMethodService, ProductOptionGroupService,
  ProductOptionService, ProductService, ProductVariantService, PromotionService, RequestContextService,
  SearchService, ShippingMethodService, StockLocationService, TaxCategoryService, TaxRateService,
  TransactionalConnection, User, ZoneService,
} = core;

const settleTimeout = 60_000;

/** Seeds `app`; resolves with the number of products and variants once every one of them is found by search. */
export async function seed(app, superadmin) {
  const context = () => adminContext(app, superadmin);
  const taxes = await seedMarket(app, await context());
  const ctx = await context(); // the channel changed: currency, languages, tax zone
  await seedCheckout(app, ctx);
  const facetValues = await seedFacets(app, ctx);
  await seedPromotions(app, ctx, facetValues);
  const locations = await seedLocations(app, ctx);
  let variants = 0;
  for (const product of shop.products) {
    variants += await seedProduct(app, ctx, product, { taxes, facetValues, locations });
  }
  await seedCollections(app, ctx, facetValues);
  await settled(app);
  await app.get(SearchService).reindex(ctx);
  await settled(app);
  return { products: shop.products.length, variants };
}

async function adminContext(app, identifier) {
  const user = await app.get(TransactionalConnection).rawConnection.getRepository(User)
    .findOneOrFail({ where: { identifier }, relations: { roles: { channels: true } } });
  return app.get(RequestContextService).create({ apiType: "admin", user });
}

async function seedMarket(app, ctx) {
  const zone = await app.get(ZoneService).create(ctx, { name: "Germany and Austria" });
  const memberIds = [];
  for (const { code, name } of shop.countries) {
    const country = await app.get(CountryService).create(ctx, { code, enabled: true, translations: names(name) });
    memberIds.push(country.id);
  }
  await app.get(ZoneService).addMembersToZone(ctx, { zoneId: zone.id, memberIds });

  const taxes = new Map();
  for (const { code, name, percent, isDefault } of shop.taxes) {
    const category = await app.get(TaxCategoryService).create(ctx, { name, isDefault });
    await app.get(TaxRateService).create(ctx, {
      name: `${name} ${percent} %`, enabled: true, value: percent, categoryId: category.id, zoneId: zone.id,
    });
    taxes.set(code, category.id);
  }

  await app.get(GlobalSettingsService).updateSettings(ctx, { availableLanguages: shop.languages, trackInventory: true });
  checked(await app.get(ChannelService).update(ctx, {
    id: ctx.channelId,
    availableLanguageCodes: shop.languages,
    defaultCurrencyCode: shop.currency,
    availableCurrencyCodes: [shop.currency],
    pricesIncludeTax: true,
    defaultTaxZoneId: zone.id,
    defaultShippingZoneId: zone.id,
  }));
  return taxes;
}

async function seedCheckout(app, ctx) {
  for (const { code, name, text, rate, minimum } of shop.shippingMethods) {
    await app.get(ShippingMethodService).create(ctx, {
      code,
      fulfillmentHandler: "manual-fulfillment",
      checker: operation("default-shipping-eligibility-checker", { orderMinimum: minimum }),
      calculator: operation("default-shipping-calculator", { rate, includesTax: "include", taxRate: 19 }),
      translations: texts(name, text),
    });
  }
  await app.get(PaymentMethodService).create(ctx, {
    code: "invoice",
    enabled: true,
    handler: operation("dummy-payment-handler", { automaticSettle: false }),
    translations: texts(["Invoice", "Rechnung"], ["", ""]),
  });
}

async function seedFacets(app, ctx) {
  const ids = new Map();
  for (const { code, name, values } of shop.facets) {
    const facet = await app.get(FacetService).create(ctx, { code, isPrivate: false, translations: names(name) });
    for (const value of values) {
      const created = await app.get(FacetValueService).create(ctx, facet, {
        code: value.code, translations: names(value.name),
      });
      ids.set(value.code, created.id);
    }
  }
  return ids;
}

async function seedPromotions(app, ctx, facetValues) {
  for (const { coupon, name, percent, facet, endsAt } of shop.promotions) {
    const action = facet
      ? operation("facet_based_discount", { discount: percent, facets: [facetValues.get(facet)] })
      : operation("order_percentage_discount", { discount: percent });
    checked(await app.get(PromotionService).createPromotion(ctx, {
      enabled: true,
      couponCode: coupon,
      endsAt: endsAt && new Date(endsAt),
      conditions: [],
      actions: [action],
      translations: texts(name, ["", ""]),
    }));
  }
}

async function seedLocations(app, ctx) {
  const service = app.get(StockLocationService);
  const { id: warehouse } = await service.defaultStockLocation(ctx);
  await service.update(ctx, { id: warehouse, name: shop.locations.warehouse });
  const { id: cafe } = await service.create(ctx, { name: shop.locations.cafe });
  return { warehouse, cafe };
}

async function seedProduct(app, ctx, product, { taxes, facetValues, locations }) {
  const { id: productId } = await app.get(ProductService).create(ctx, {
    enabled: true,
    facetValueIds: product.facets.map((code) => facetValues.get(code)),
    translations: texts(product.name, product.text).map((translation) => ({ ...translation, slug: product.slug })),
  });
  const optionIds = await seedOptions(app, ctx, product, productId);
  await app.get(ProductVariantService).create(ctx, product.variants.map((variant) => ({
    productId,
    sku: variant.sku,
    price: variant.price,
    taxCategoryId: taxes.get(product.tax),
    optionIds: variant.options.map(([english], index) => optionIds[index].get(english)),
    trackInventory: variant.untracked ? "FALSE" : "INHERIT",
    stockLevels: [
      { stockLocationId: locations.warehouse, stockOnHand: variant.stock ?? 0 },
      { stockLocationId: locations.cafe, stockOnHand: variant.cafe ?? 0 },
    ],
    translations: names(shop.languages.map((_, language) => variantName(product, variant, language))),
  })));
  return product.variants.length;
}

/** One map English option name -> id for each option group of the product, in the order of the groups. */
async function seedOptions(app, ctx, product, productId) {
  const groups = [];
  for (const [index, { code, name }] of product.options.entries()) {
    const group = await app.get(ProductOptionGroupService).create(ctx, {
      code: `${product.slug}-${code}`, translations: names(name),
    });
    const ids = new Map();
    for (const { options } of product.variants) {
      const [english] = options[index];
      if (ids.has(english)) continue;
      const option = await app.get(ProductOptionService).create(ctx, group, {
        code: english.toLowerCase().replaceAll(" ", "-"), translations: names(options[index]),
      });
      ids.set(english, option.id);
    }
    await app.get(ProductService).addOptionGroupToProduct(ctx, productId, group.id);
    groups.push(ids);
  }
  return groups;
}

async function seedCollections(app, ctx, facetValues) {
  const ids = new Map();
  for (const { slug, parent, name, facets } of shop.collections) {
    const facetValueIds = facets.map((code) => facetValues.get(code));
    const collection = await app.get(CollectionService).create(ctx, {
      parentId: parent && ids.get(parent),
      filters: [operation("facet-value-filter", { facetValueIds, containsAny: true, combineWithAnd: true })],
      translations: texts(name, ["", ""]).map((translation) => ({ ...translation, slug })),
    });
    ids.set(slug, collection.id);
  }
}

/** Waits until the job queue has nothing left to do: it has no event for "idle", so it is asked. */
async function settled(app) {
  const { jobQueueStrategy } = app.get(ConfigService).jobQueueOptions;
  const deadline = Date.now() + settleTimeout;
  for (;;) {
    const { items } = await jobQueueStrategy.findMany();
    const failed = items.find((job) => job.state === "FAILED");
    if (failed) throw new Error(`job ${failed.queueName} failed: ${failed.error}`);
    const open = items.filter((job) => !job.isSettled);
    if (open.length === 0) return;
    if (Date.now() > deadline) throw new Error(`${open.length} jobs did not finish within ${settleTimeout} ms`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

function variantName(product, variant, language) {
  return [product.name[language], ...variant.options.map((option) => option[language])].join(" ");
}

function names(translated) {
  return shop.languages.map((languageCode, index) => ({ languageCode, name: translated[index] }));
}

function texts(name, text) {
  return names(name).map((translation, index) => ({ ...translation, description: text[index] }));
}

function operation(code, args) {
  const encode = (value) => (typeof value === "string" ? value : JSON.stringify(value));
  return { code, arguments: Object.entries(args).map(([name, value]) => ({ name, value: encode(value) })) };
}

function checked(result) {
  if (isGraphQlErrorResult(result)) throw new Error(`${result.errorCode}: ${result.message}`);
  return result;
}
