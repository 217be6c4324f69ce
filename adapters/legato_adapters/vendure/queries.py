"""The GraphQL documents. `NOTE` stands where an installation with the Order custom field `note` has more to select."""

_MONEY = "adjustmentSource type description amount amountWithTax"
_ADDRESS = "fullName company streetLine1 streetLine2 postalCode city province countryCode phoneNumber"

# What a change is checked by: its selection costs more than the change itself, so it is kept small.
_SLIM = """
fragment Slim on Order {
  id state couponCodes
  shippingLines { shippingMethod { id } }
  lines { id quantity productVariant { sku stockLevel } }
}
"""

_CART = (
    (
        """
fragment Cart on Order {
  id code state active createdAt currencyCode couponCodes NOTE
  totalWithTax
  promotions { id couponCode name }
  discounts { MONEY }
  surcharges { id description price priceWithTax }
  taxSummary { description taxRate taxTotal }
  customer { emailAddress }
  shippingAddress { ADDRESS }
  billingAddress { ADDRESS }
  shippingLines { price priceWithTax shippingMethod { id name } }
  lines {
    id quantity unitPrice unitPriceWithTax unitPriceChangeSinceAdded unitPriceWithTaxChangeSinceAdded
    linePrice linePriceWithTax proratedLinePrice proratedLinePriceWithTax
    taxLines { description taxRate }
    discounts { MONEY }
    featuredAsset { preview }
    productVariant {
      id sku name stockLevel
      options { name group { id name } }
      product { id }
    }
  }
}
"""
    )
    .replace("MONEY", _MONEY)
    .replace("ADDRESS", _ADDRESS)
)

_ERROR = "... on ErrorResult { errorCode message }"

SLIM_ORDER = f"query {{ activeOrder {{ ...Slim }} }} {_SLIM}"

CHANNEL = """
query {
  activeChannel {
    pricesIncludeTax defaultCurrencyCode availableCurrencyCodes defaultLanguageCode availableLanguageCodes
  }
  availableCountries { code }
}
"""

# Null where orders have no custom fields at all.
ORDER_FIELDS = 'query { __type(name: "UpdateOrderCustomFieldsInput") { inputFields { name } } }'

PROBE = "query { activeChannel { id } }"


def _with_note(document: str, *, note: bool) -> str:
    return document.replace("NOTE", "customFields { note }" if note else "")


def whole_order(*, note: bool) -> str:
    """The cart with the ways of delivery that it may choose."""
    document = f"query {{ activeOrder {{ ...Cart }} eligibleShippingMethods {{ id name price priceWithTax }} }} {_CART}"
    return _with_note(document, note=note)


def order_by_code(*, note: bool) -> str:
    """A placed order; Vendure shows a guest's own for a while."""
    return _with_note(f"query($code: String!) {{ orderByCode(code: $code) {{ ...Cart }} }} {_CART}", note=note)


def create_order(*, note: bool) -> str:
    """In a session that has no order yet, emptying it makes one: the only way without putting something in."""
    return _with_note(f"mutation {{ removeAllOrderLines {{ ...Cart {_ERROR} }} }} {_CART}", note=note)


def cancel_order(*, note: bool) -> str:
    """Selects everything, because a shopper cannot read an order any more that was cancelled."""
    document = f'mutation {{ transitionOrderToState(state: "Cancelled") {{ ...Cart {_ERROR} }} }} {_CART}'
    return _with_note(document, note=note)


CANCEL_STRAY = 'mutation { transitionOrderToState(state: "Cancelled") { __typename } }'


def _change(field: str, parameters: str, arguments: str, *, stock: bool = False) -> str:
    more = " ... on InsufficientStockError { order { ...Slim } }" if stock else ""
    more += " ... on OrderLimitError { maxItems }" if stock else ""
    return f"mutation({parameters}) {{ {field}({arguments}) {{ ...Slim {_ERROR}{more} }} }} {_SLIM}"


CHANGES = {
    "addItemToOrder": _change(
        "addItemToOrder",
        "$variant: ID!, $quantity: Int!",
        "productVariantId: $variant, quantity: $quantity",
        stock=True,
    ),
    "adjustOrderLine": _change(
        "adjustOrderLine", "$line: ID!, $quantity: Int!", "orderLineId: $line, quantity: $quantity", stock=True
    ),
    "removeOrderLine": _change("removeOrderLine", "$line: ID!", "orderLineId: $line"),
    "applyCouponCode": _change("applyCouponCode", "$code: String!", "couponCode: $code"),
    # The only one that answers with an Order and not with a union.
    "removeCouponCode": (f"mutation($code: String!) {{ removeCouponCode(couponCode: $code) {{ ...Slim }} }} {_SLIM}"),
    "setCustomerForOrder": _change("setCustomerForOrder", "$input: CreateCustomerInput!", "input: $input"),
    "setOrderShippingAddress": _change("setOrderShippingAddress", "$input: CreateAddressInput!", "input: $input"),
    "setOrderBillingAddress": _change("setOrderBillingAddress", "$input: CreateAddressInput!", "input: $input"),
    "setOrderShippingMethod": _change("setOrderShippingMethod", "$methods: [ID!]!", "shippingMethodId: $methods"),
    "transitionOrderToState": _change("transitionOrderToState", "$state: String!", "state: $state"),
    "addPaymentToOrder": _change("addPaymentToOrder", "$input: PaymentInput!", "input: $input"),
    "setOrderCustomFields": _change("setOrderCustomFields", "$input: UpdateOrderInput!", "input: $input"),
}

_VARIANT = """
id sku name price priceWithTax currencyCode stockLevel
options { name group { id name } }
"""

_PRODUCT = (
    """
fragment Product on Product {
  id slug name description
  assets { preview }
  featuredAsset { preview }
  collections { slug breadcrumbs { slug } }
  variants { VARIANT }
}
"""
).replace("VARIANT", _VARIANT)

PRODUCT = f"query($id: ID, $slug: String) {{ product(id: $id, slug: $slug) {{ ...Product }} }} {_PRODUCT}"

PRODUCTS = (
    "query($ids: [String!]!) {"
    f" products(options: {{ take: 100, filter: {{ id: {{ in: $ids }} }} }}) {{ items {{ ...Product }} }} }} {_PRODUCT}"
)

SEARCH = "query($input: SearchInput!) { search(input: $input) { totalItems items { productId } } }"

VARIANTS = f"""
query($ids: [String!]!, $skus: [String!]!) {{
  products(options: {{ take: 100, filter: {{ id: {{ in: $ids }} }} }}) {{
    items {{ variantList(options: {{ take: 100, filter: {{ sku: {{ in: $skus }} }} }}) {{ items {{ {_VARIANT} }} }} }}
  }}
}}
"""


_PLACED = (
    _CART.replace("fragment Cart on", "fragment Placed on")
    .replace("NOTE", "customFields { note cartId } orderPlacedAt updatedAt")
    .replace("customer { emailAddress }", "customer { id emailAddress }")
    .replace("    id quantity unitPrice ", "    id quantity orderPlacedQuantity unitPrice ")
    .replace(
        "  totalWithTax\n",
        "  totalWithTax\n  payments { id method amount state metadata refunds { id total state } }"
        "\n  fulfillments { id state createdAt lines { orderLineId quantity } }\n",
    )
)
"""An order as an administrator reads it."""


def placed_order(*, note: bool) -> str:
    return _placed("query($id: ID!) { order(id: $id) { ...Placed } }", note=note)


def find_order(*, note: bool) -> str:
    document = "query($options: OrderListOptions!) { orders(options: $options) { items { ...Placed } } }"
    return _placed(document, note=note)


def customer_orders(*, note: bool) -> str:
    document = """
query($id: ID!, $options: OrderListOptions!) {
  customer(id: $id) { orders(options: $options) { totalItems items { ...Placed } } }
}
"""
    return _placed(document, note=note)


def _placed(document: str, *, note: bool) -> str:
    return f"{document} {_PLACED if note else _PLACED.replace('note cartId', 'cartId')}"


CANCEL_PLACED = f"""
mutation($input: CancelOrderInput!) {{ cancelOrder(input: $input) {{ __typename {_ERROR} }} }}
"""

LOGIN = """
mutation($username: String!, $password: String!) {
  login(username: $username, password: $password) { __typename }
}
"""


def find_skus(count: int) -> str:
    """Looks for `count` skus, variables $s0, $s1, …, in the search index; answers under the same names."""
    parameters = ", ".join(f"$s{i}: String!" for i in range(count))
    hits = "items { sku productId productVariantId }"
    fields = " ".join(f"s{i}: search(input: {{ term: $s{i}, take: 100 }}) {{ {hits} }}" for i in range(count))
    return f"query({parameters}) {{ {fields} }}"
